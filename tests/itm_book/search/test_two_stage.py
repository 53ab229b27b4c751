"""Search in two stages against the exact ranking."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.search.two_stage import (
    TwoStage,
    build_two_stage,
    encode_captions,
    open_two_stage,
    rerank,
)
from itm_book.search.vector_index import write_index
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.models import Matcher
from itm_core.models.pairing import AllPairs

IMAGES = 60
METHODS = ("scan-t2i-mean", "scan-i2t-LSE", "bfan-equal", "chan", "saf", "rcar-t2i", "vse-gpo")


def some_data() -> tuple[np.ndarray, list[list[int]]]:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(IMAGES, 4, 5)).astype(np.float32)
    return features, [[1, *draw.integers(3, 20, draw.integers(1, 7)), 2] for _ in range(30)]


def built(recipe: str = "scan-t2i-mean") -> Matcher:
    torch.manual_seed(0)
    return recipes.get(recipe).replace("encoder.embedding=16").build(5, 20, 4).eval()


def searched(recipe: str, folder: Path, kind: str = "float32") -> tuple[TwoStage, torch.Tensor]:
    """Return the search, and the exact scores ``[C, I]`` of what is in its store."""
    matcher, (features, captions) = built(recipe), some_data()
    search = build_two_stage(matcher, features, captions, folder, kind=kind)
    words = encode_captions(matcher, captions)
    with torch.no_grad():
        return search, matcher(AllPairs(search.store.fragments(slice(None)), words))


@pytest.mark.parametrize("recipe", METHODS)
def test_candidates_get_the_scores_of_the_exact_ranking(recipe: str, tmp_path: Path) -> None:
    search, every = searched(recipe, tmp_path / "g", "int8")
    words = encode_captions(search.matcher, some_data()[1])
    found = search.search(words, candidates=20, top=5)
    assert found.images.shape == found.scores.shape == (30, 5)
    exact = every.gather(1, torch.from_numpy(found.images)).numpy()
    np.testing.assert_allclose(found.scores, exact, atol=1e-6 * max(1, np.abs(exact).max()))
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.parametrize("recipe", METHODS)
def test_with_all_images_as_candidates_the_ranking_is_exact(recipe: str, tmp_path: Path) -> None:
    search, every = searched(recipe, tmp_path / "g")
    words = encode_captions(search.matcher, some_data()[1])
    found = search.search(words, candidates=10 * IMAGES)
    best = every.topk(10).values.numpy()
    np.testing.assert_allclose(found.scores, best, atol=1e-6 * max(1, np.abs(best).max()))


def test_more_candidates_find_as_much_or_more(tmp_path: Path) -> None:
    search, every = searched("scan-t2i-mean", tmp_path / "g")
    words = encode_captions(search.matcher, some_data()[1])
    exact = every.topk(5).indices.numpy()
    shares = []
    for count in (5, 10, 20, 40, IMAGES):
        found = search.search(words, candidates=count, top=5).images
        pairs = zip(found, exact, strict=True)
        shares.append([len(set(a) & set(b)) for a, b in pairs])
    assert (np.diff(shares, axis=0) >= 0).all()  # caption by caption
    assert sum(shares[0]) < sum(shares[-1]) == 5 * 30


def test_steps_of_any_size_give_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, every = searched("scan-t2i-mean", tmp_path / "g")
    caption = encode_captions(search.matcher, some_data()[1][:1])
    for size in (1, 7, 1000):
        monkeypatch.setattr("itm_book.search.two_stage.PAIRS_AT_ONCE", size)
        scores = rerank(search.matcher, search.store.fragments(slice(None)), caption)
        torch.testing.assert_close(scores, every[0], rtol=0, atol=1e-6)


def test_a_gallery_that_was_built_is_opened(tmp_path: Path) -> None:
    search, _ = searched("scan-t2i-mean", tmp_path / "g")
    words = encode_captions(search.matcher, some_data()[1])
    again = open_two_stage(search.matcher, tmp_path / "g").search(words, candidates=20)
    np.testing.assert_array_equal(again.images, search.search(words, candidates=20).images)
    write_index(np.zeros((7, 3), np.float32), tmp_path / "g" / "index.faiss")
    with pytest.raises(InputError, match="another gallery; expected 60 images, found 7"):
        open_two_stage(search.matcher, tmp_path / "g")
    (tmp_path / "g" / "index.faiss").write_bytes(b"not an index")
    with pytest.raises(InputError, match="not an index.*build the index again"):
        open_two_stage(search.matcher, tmp_path / "g")


def test_a_gallery_of_other_weights_is_refused(tmp_path: Path) -> None:
    searched("scan-t2i-mean", tmp_path / "g")
    other = built()
    assert len(open_two_stage(other, tmp_path / "g").store) == IMAGES
    with torch.no_grad():
        next(other.parameters()).add_(1e-3)
    with pytest.raises(InputError, match=r"encoded with other weights.*Remedy.*itm index"):
        open_two_stage(other, tmp_path / "g")


def test_fewer_candidates_than_are_asked_for_are_refused(tmp_path: Path) -> None:
    search, _ = searched("scan-t2i-mean", tmp_path / "g")
    words = encode_captions(search.matcher, some_data()[1][:1])
    with pytest.raises(InputError, match="expected 10 or more, found 3"):
        search.search(words, candidates=3)


def test_without_the_library_a_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r'needs .*: pip install "itm-core\[search\]"'):
        searched("scan-t2i-mean", tmp_path / "g")
