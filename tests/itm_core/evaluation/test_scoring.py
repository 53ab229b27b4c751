"""Scoring in tiles against scoring at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itm_core.encoders.fragments import Fragments
from itm_core.errors import InputError
from itm_core.evaluation import scoring
from itm_core.evaluation.scoring import (
    Captions,
    encoded_blocks,
    pad,
    score_all,
    score_fragments,
    score_matrix,
)
from itm_core.experiments import recipes
from itm_core.models import Matcher
from itm_core.models.pairing import AllPairs, Matched


def some_data(images: int, captions: int, seed: int = 0) -> tuple[np.ndarray, list[list[int]]]:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(images, 4, 5)).astype(np.float32)
    return features, [[1, *draw.integers(3, 20, draw.integers(0, 6)), 2] for _ in range(captions)]


@pytest.mark.parametrize("recipe", ["scan-t2i-mean", "scan-i2t-LSE"])
@pytest.mark.parametrize("floats", [1, 300, 10**9])
def test_tiles_of_any_size_give_the_same_scores(
    recipe: str, floats: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    matcher = recipes.get(recipe).replace("encoder.embedding=8").build(5, 20)
    features, captions = some_data(7, 11)
    ids, lens = pad(captions)
    with torch.no_grad():
        regions, words = matcher.regions(torch.from_numpy(features)), matcher.words(ids, lens)
        at_once = matcher(AllPairs(regions, words)).T.numpy()
    for name, value in (
        ("CACHE_TILE", floats),
        ("IMAGES_PER_TILE", {"cpu": 3}),
        ("CAPTIONS_AT_ONCE", 4),
        ("REGIONS_AT_ONCE", 5),
    ):
        monkeypatch.setattr(scoring, name, value)
    np.testing.assert_allclose(score_matrix(matcher, features, captions), at_once, atol=2e-6)


@given(images=st.integers(1, 5), captions=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_columns_follow_the_order_of_the_captions(images: int, captions: int, seed: int) -> None:
    torch.manual_seed(0)  # at width 8 some words have all their products near zero: rounding grows
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=32").build(5, 20)
    features, texts = some_data(images, captions, seed)
    scores = score_matrix(matcher, features, texts)
    assert scores.shape == (images, captions)
    assert scores.dtype == np.float32
    for column, caption in enumerate(texts):
        alone = score_matrix(matcher, features, [caption])
        np.testing.assert_allclose(scores[:, column], alone[:, 0], atol=2e-6)


def test_prepared_captions_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CAPTIONS_AT_ONCE", 4)
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20)
    features, texts = some_data(7, 11)
    captions = Captions.of(texts)
    assert Captions.of(captions) is captions
    lens = torch.cat([block.lens for block in captions.blocks])
    assert torch.equal(lens, lens.sort().values)
    assert sorted(k for block in captions.blocks for k in block.columns) == list(range(11))
    expected = score_matrix(matcher, features, texts)
    np.testing.assert_array_equal(score_matrix(matcher, features, captions), expected)


def test_images_are_rows_and_captions_columns_also_with_a_graph() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20)
    features, texts = some_data(3, 4)
    regions, words = matcher.regions(torch.from_numpy(features)), matcher.words(*pad(texts))
    scores = score_all(matcher, regions, words)
    assert scores.shape == (3, 4)
    assert scores.requires_grad
    order = torch.argsort(words.lens)
    for short_first in (None, order):
        tiled = score_fragments(matcher, [regions], words, order=short_first)
        torch.testing.assert_close(tiled, scores.detach())
    alone = matcher(Matched(regions.take(torch.tensor([2])), words.take(torch.tensor([1]))))
    torch.testing.assert_close(scores[2, 1], alone[0, 0])


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_devices_share_the_images(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut where a chunk ends the scores are the same to the bit, elsewhere to rounding."""
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20).train()
    features, captions = some_data(11, 9)
    alone = score_matrix(matcher, features, captions)
    devices = [torch.device("cpu")] * parts
    shared = score_matrix(matcher, features, captions, devices=devices)
    np.testing.assert_allclose(shared, alone, atol=2e-6)
    monkeypatch.setattr(scoring, "REGIONS_AT_ONCE", 2)
    alone = score_matrix(matcher, features, captions)
    assert np.array_equal(score_matrix(matcher, features, captions, devices=devices), alone)
    assert matcher.training
    assert len(score_matrix(matcher, features[:2], captions, devices=devices)) == 2


@given(images=st.integers(1, 5000), parts=st.integers(1, 70))
def test_shards_hold_every_image_once(images: int, parts: int) -> None:
    parts = min(parts, images)
    shards = scoring.image_shards(images, parts)
    assert [i for rows in shards for i in range(images)[rows]] == list(range(images))
    sizes = [rows.stop - rows.start for rows in shards]
    assert len(sizes) == parts
    assert min(sizes) > 0
    if images >= parts * scoring.REGIONS_AT_ONCE:
        assert {rows.start % scoring.REGIONS_AT_ONCE for rows in shards} == {0}


def test_scoring_leaves_the_matcher_in_its_mode() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20).train()
    features, captions = some_data(2, 3)
    score_matrix(matcher, features, captions)
    assert matcher.training
    with pytest.raises(InputError, match="precision"):
        score_matrix(matcher, features, captions, precision="half")
    with pytest.raises(IndexError):  # an id that the vocabulary lacks
        score_matrix(matcher, features, [[1, 99, 2]] * 3)
    assert matcher.training


def test_the_precision_of_several_devices_ends_with_the_scoring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is the process's: threads that each set it and set it back would leave it wrong."""
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20)
    features, captions = some_data(12, 9)
    monkeypatch.setattr(scoring, "CAPTIONS_AT_ONCE", 1)
    during: set[bool] = set()
    score = scoring.score_fragments

    def watched(*arguments: object, **options: object) -> torch.Tensor:
        during.add(torch.backends.cuda.matmul.allow_tf32)
        return score(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "score_fragments", watched)
    score_matrix(matcher, features, captions, devices=[torch.device("cpu")] * 4, precision="tf32")
    assert during == {True}
    assert not torch.backends.cuda.matmul.allow_tf32


def test_memory_does_not_grow_with_the_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tile and the most captions encoded at once are the same for 40 and 400."""
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20)
    largest: dict[int, tuple[int, int]] = {}
    for count in (40, 400):
        seen: list[tuple[int, int]] = []

        def watch(
            matcher: Matcher, chunks: list[Fragments], words: Fragments, seen: list = seen
        ) -> torch.Tensor:
            seen.append((len(words.lens), words.vectors.numel()))
            return score_fragments(matcher, chunks, words)

        monkeypatch.setattr(scoring, "CAPTIONS_AT_ONCE", 16)
        monkeypatch.setattr(scoring, "score_fragments", watch)
        scoring.score_matrix(matcher, *some_data(3, count))
        largest[count] = max(c for c, _ in seen), max(n for _, n in seen)
    assert largest[40][0] == largest[400][0] == 16
    assert largest[400][1] <= 16 * 7 * 8


def test_images_are_encoded_in_order_and_held_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=8").build(5, 20)
    features, captions = some_data(23, 6)
    whole = score_matrix(matcher, features, captions)
    monkeypatch.setattr(scoring, "REGIONS_AT_ONCE", 4)
    with torch.no_grad():
        expected = matcher.regions(torch.from_numpy(features)).vectors
    floats = 9 * expected[0].numel()  # of nine images; two times four fit
    monkeypatch.setitem(scoring.ENCODED_FLOATS, "cpu", floats)
    blocks = list(encoded_blocks(matcher, features))
    assert [rows.stop - rows.start for rows, _ in blocks] == [8, 8, 7]
    for rows, chunks in blocks:
        torch.testing.assert_close(torch.cat([c.vectors for c in chunks]), expected[rows])
    np.testing.assert_allclose(score_matrix(matcher, features, captions), whole, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("recipe", ["scan-t2i-mean", "bfan-prob", "chan", "saf", "sgr", "rcar-t2i"])
def test_a_gpu_scores_as_a_cpu_does(recipe: str, compile: bool) -> None:
    torch.manual_seed(0)
    matcher = recipes.get(recipe).replace("encoder.embedding=32").build(5, 20, 4)
    features, captions = some_data(70, 30)
    here = score_matrix(matcher, features, captions)
    there = score_matrix(matcher.cuda(), features, captions, compile=compile)
    np.testing.assert_allclose(there, here, atol=2e-5)
    short = score_matrix(matcher, features, captions, precision="tf32", compile=compile)
    np.testing.assert_allclose(short, here, atol=1e-2)
