"""What is measured of a search: against rankings made the plain way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.search import search_curve
from itm_book.search.distractors import ConcatGallery, SyntheticDistractors
from itm_book.search.search_curve import (
    CURVE_COLUMNS,
    curve,
    encoded,
    exact_tops,
    loss_of_kind,
    recalls,
    synthetic_share,
)
from itm_book.search.two_stage import Ranking, build_two_stage, encode_captions
from itm_core.errors import InputError
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import recipes
from itm_core.models import Matcher


@pytest.fixture
def matcher() -> Matcher:
    torch.manual_seed(0)
    return recipes.get("scan-t2i-mean").replace("encoder.embedding=16").build(5, 20, 4).eval()


def some_data() -> tuple[np.ndarray, list[list[int]]]:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(40, 4, 5)).astype(np.float32)
    return features, [[1, *draw.integers(3, 20, draw.integers(1, 7)), 2] for _ in range(8)]


def test_the_exact_best_are_those_of_the_score_matrix(
    matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_curve, "AT_ONCE", 7)
    features, captions = some_data()
    words, stops = encode_captions(matcher, captions), [10, 25, 40]
    found = exact_tops(matcher, encoded(matcher, features, stops), words, stops, 5)
    assert sorted(found) == stops
    for stop, one in found.items():
        every = score_matrix(matcher, features[:stop], captions)
        order = np.argsort(-every, axis=0, kind="stable")[:5].T
        np.testing.assert_array_equal(one.images, order)
        np.testing.assert_allclose(one.scores, np.take_along_axis(every.T, order, 1), atol=2e-6)


def test_recalls_by_hand() -> None:
    exact = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(recalls(np.array([[4, 9, 1], [0, 1, 2]]), exact), [0.5, 0])


def test_a_curve_ends_at_everything(matcher: Matcher, tmp_path: Path) -> None:
    features, captions = some_data()
    search = build_two_stage(matcher, features, captions, tmp_path / "g", kind="float32")
    words = encode_captions(matcher, captions)
    exact = exact_tops(matcher, encoded(matcher, features, [40]), words, [40])[40].images
    table = curve(search, captions, exact, [10, 20, 40])
    assert list(table) == list(CURVE_COLUMNS)
    assert table["recall"].is_monotonic_increasing
    assert table["recall"].iloc[-1] == table["worst"].iloc[-1] == 1
    assert table["recall"].iloc[0] < 1
    assert (table["worst"] <= table["recall"]).all()


def test_fewer_bits_lose_nothing_in_float32_and_move_scores_in_int8(matcher: Matcher) -> None:
    features, captions = some_data()
    gallery = ConcatGallery(features, SyntheticDistractors(features, None, 60))
    words = encode_captions(matcher, captions)
    exact = exact_tops(matcher, encoded(matcher, gallery, [100]), words, [100], 100)[100]
    lost = {
        kind: loss_of_kind(matcher, gallery, words, exact, kind)
        for kind in ("float32", "float16", "int8")
    }
    assert lost["float32"]["recall"] == lost["float32"]["first"] == 1
    assert lost["float32"]["largest_difference"] < 1e-6
    assert lost["float16"]["largest_difference"] < lost["int8"]["largest_difference"] < 0.1
    assert lost["float16"]["mean_difference"] < lost["int8"]["mean_difference"]


def test_a_loss_that_fewer_images_cannot_show_is_not_sure(matcher: Matcher) -> None:
    features, captions = some_data()
    gallery = ConcatGallery(features, SyntheticDistractors(features, None, 2))
    words = encode_captions(matcher, captions)
    exact = exact_tops(matcher, encoded(matcher, gallery, [42]), words, [42], 42)[42]
    assert loss_of_kind(matcher, gallery, words, exact, "int8")["sure"] == 1
    ten = Ranking(exact.images[:, :10], exact.scores[:, :10])  # the eleventh could come up
    assert loss_of_kind(matcher, gallery, words, ten, "int8")["sure"] == 0


def test_copies_have_half_of_the_best_places(matcher: Matcher) -> None:
    features, captions = some_data()
    words = encode_captions(matcher, captions)

    class Same(SyntheticDistractors):
        def take(self, places: np.ndarray) -> np.ndarray:
            return self.features[places]

    same = Same(features, None, len(features))
    assert synthetic_share(matcher, features, same, words) == pytest.approx(0.5)
    with pytest.raises(InputError, match="must be equal"):
        synthetic_share(matcher, features[:9], same, words)


def test_without_a_record_the_command_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="itm bench search --record"):
        search_curve.recorded(tmp_path / "search.csv")
