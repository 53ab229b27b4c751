"""Records of a pair: their numbers are those of `explain`, and add up to the score."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.pairs.pair_records import (
    DirectionRecord,
    Pair,
    PairRecord,
    one_pair,
    pair_record,
    records_of,
)
from itm_book.pairs.word_maps import explain, read_pair
from itm_core.data.dataset import Split, load_dataset
from itm_core.errors import InputError
from itm_core.evaluation import attention_quality
from itm_core.experiments.runs import Run, train_or_load
from tests import scenes_pair
from tests.micro import SMALL, write_dataset

METHODS = ("scan-t2i-mean", "scan-i2t-mean", "bfan-equal", "rcar-t2i", "chan", "saf")


@pytest.fixture(scope="module")
def folder(scenes_folder: Path) -> Path:
    return scenes_folder


@pytest.fixture(scope="module")
def split(folder: Path) -> Split:
    return scenes_pair.scenes(folder)


def record(folder: Path, split: Split, method: str) -> tuple[Run, int, PairRecord]:
    run, place = (
        scenes_pair.trained(folder, method),
        split.place(scenes_pair.IMAGE, scenes_pair.CAPTION),
    )
    return run, place, pair_record(run, split, scenes_pair.IMAGE, place)


@pytest.mark.parametrize("method", METHODS)
def test_the_numbers_are_those_of_the_score(folder: Path, split: Split, method: str) -> None:
    run, place, found = record(folder, split, method)
    for side in found.directions:
        maps = explain(run, split, scenes_pair.IMAGE, place, direction=side.direction)
        np.testing.assert_array_equal(side.weights[-1], maps.weights)
        np.testing.assert_array_equal(side.contribution, maps.contribution)
        assert found.score == maps.score
    whole = sum(side.contribution.sum() for side in found.directions) + found.remainder
    assert whole == pytest.approx(found.score, abs=1e-6)
    assert found.pair.words == run.vocabulary.tokens(split.captions[place])


@pytest.mark.parametrize("method", METHODS)
def test_rounded_numbers_still_add_up_and_stay_small(
    folder: Path, split: Split, method: str
) -> None:
    _, _, found = record(folder, split, method)
    plain = found.rounded()
    shares = [share for direction in plain["directions"] for share in direction["contributions"]]
    assert sum(shares) + plain["remainder"] == pytest.approx(plain["score"], abs=2e-6)
    assert len(json.dumps(plain)) < 60_000
    weights = np.array(plain["directions"][0]["weights"][-1])
    np.testing.assert_allclose(weights, found.directions[0].weights[-1], atol=1e-5)


@pytest.mark.parametrize("method", ["rcar-t2i", "rcar-i2t"])
def test_every_pass_and_step_is_there(folder: Path, split: Split, method: str) -> None:
    run, place, found = record(folder, split, method)
    (side,) = found.directions
    output = read_pair(run, split, scenes_pair.IMAGE, place).directions[0]
    shown = slice(1, -1) if method == "rcar-t2i" else slice(None)
    assert len(side.weights) == len(side.temperature) == len(output.passes) == 2
    for k, attention_pass in enumerate(output.passes):
        np.testing.assert_array_equal(side.weights[k], attention_pass.weights[0, 1:-1, 0].numpy())
        whole = output.pooling[k].flatten().numpy()
        assert whole.sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_array_equal(side.pooling[k], whole[shown])
    start = run.recipe.matcher.attention_temperature  # type: ignore[union-attr]
    np.testing.assert_array_equal(side.temperature[0], np.float32(start))
    later = torch.as_tensor(output.passes[1].control.temperature).flatten().numpy()
    np.testing.assert_array_equal(side.temperature[1], later[shown])


def test_a_direction_is_the_first_or_the_one_asked_for(folder: Path, split: Split) -> None:
    _, _, found = record(folder, split, "bfan-equal")
    assert found.direction() is found.directions[0]
    assert found.direction("i2t").direction == "i2t"
    _, _, found = record(folder, split, "scan-i2t-mean")
    with pytest.raises(InputError, match=r"i2t.*found t2i of scan-i2t|one of i2t"):
        found.direction("t2i")


def test_the_measures_of_a_pair_are_means_over_what_has_something_to_find() -> None:
    def side(*quality: list[tuple[float, float, float] | None]) -> DirectionRecord:
        return DirectionRecord("t2i", [], [], [], np.zeros(3), list(quality))

    first: list[tuple[float, float, float] | None] = [(0.0, 0.0, 0.0), None, (0.0, 0.0, 0.0)]
    last: list[tuple[float, float, float] | None] = [(1.0, 0.5, 0.7), None, (0.5, 0.5, 0.5)]
    assert side(first, last).measures() == pytest.approx((0.75, 0.5, 0.6))
    assert side().measures() is None
    assert side([None, None]).measures() is None


def test_words_worth_a_picture_name_something_or_have_content() -> None:
    words = ["a", "dog", "and", "two", "cats", "."]
    plain = Pair("1", "A dog and two cats.", words, 4, (1, 1), None, None, None)
    assert plain.content() == [1, 3, 4]
    box = np.array([[0.0, 0, 1, 1]])
    named = [box if word == "dog" else np.zeros((0, 4)) for word in words]
    assert replace(plain, true_boxes=named).content() == [1]


def test_records_of_different_pairs_are_told_apart(folder: Path, split: Split) -> None:
    _, _, found = record(folder, split, "scan-t2i-mean")
    assert one_pair([found, found]) is found.pair
    other = replace(found, pair=replace(found.pair, words=[*found.pair.words[:-1], "else"]))
    with pytest.raises(InputError, match="different pairs"):
        one_pair([found, other])
    with pytest.raises(InputError, match="at least one record"):
        one_pair([])


def test_the_quality_of_a_word_is_that_of_the_measures(folder: Path, split: Split) -> None:
    _, place, found = record(folder, split, "scan-t2i-mean")
    known = attention_quality.truth(split)
    assert known is not None
    relevant = known[0][place][1:-1]
    (quality,) = found.directions[0].quality
    weights = found.directions[0].weights[0]
    for row, there, measured in zip(weights, relevant, quality, strict=True):
        if not there.any():
            assert measured is None
            continue
        attended = row >= 1 / len(row) * (1 - 1e-6)
        hit = (attended & there).sum()
        assert measured is not None
        assert measured[:2] == pytest.approx((hit / attended.sum(), hit / there.sum()))
    assert found.pair.true_boxes is not None
    named = [len(boxes) > 0 for boxes in found.pair.true_boxes]
    tokens = split.words()
    assert tokens is not None
    assert named == [token is not None for token in tokens[place]]


def test_boxes_fit_the_picture(folder: Path, split: Split) -> None:
    _, _, found = record(folder, split, "scan-t2i-mean")
    boxes = found.pair.boxes
    assert boxes is not None
    assert found.pair.picture is not None
    assert found.pair.picture.startswith("data:image/png;base64,")
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= np.array(found.pair.size) + 1).all()


def test_an_image_of_another_caption_has_no_truth(folder: Path, split: Split) -> None:
    run = scenes_pair.trained(folder, "scan-t2i-mean")
    other = pair_record(run, split, 0, split.place(scenes_pair.IMAGE, 0))
    assert other.pair.true_boxes is None
    assert other.directions[0].quality == []


def test_without_pictures_and_boxes_the_numbers_stay(tmp_path: Path) -> None:
    write_dataset(tmp_path / "micro")
    run = train_or_load(
        tmp_path / "micro", "scan-t2i-mean", root=tmp_path, overrides=SMALL, device="cpu",
        progress=False,
    )  # fmt: skip
    found = pair_record(run, load_dataset(tmp_path / "micro").test, 0, 0)
    assert (found.pair.picture, found.pair.boxes, found.pair.true_boxes) == (None, None, None)
    assert found.pair.regions == found.directions[0].weights[0].shape[1] == 4


@pytest.mark.parametrize("method", ["scan-i2t-mean", "bfan-equal", "rcar-t2i"])
def test_a_batch_of_any_lengths_is_explained_as_each_alone(
    folder: Path, split: Split, method: str
) -> None:
    run = scenes_pair.trained(folder, method)
    sentence, place = "a red ball", split.place(scenes_pair.IMAGE, scenes_pair.CAPTION)
    pairs: list[tuple[int, int | str]] = [(0, sentence), (scenes_pair.IMAGE, place), (2, place)]
    together = records_of(run, split, pairs)
    for (image, caption), found in zip(pairs, together, strict=True):
        alone = pair_record(run, split, image, caption)
        assert found.pair.words == alone.pair.words
        assert (found.pair.true_boxes is None) == (alone.pair.true_boxes is None)
        assert found.score == pytest.approx(alone.score, abs=1e-6)
        for one, other in zip(found.directions, alone.directions, strict=True):
            for name in ("weights", "temperature", "pooling"):
                for here, there in zip(getattr(one, name), getattr(other, name), strict=True):
                    np.testing.assert_allclose(
                        here, there, atol=1e-4 if name == "temperature" else 1e-5
                    )
            np.testing.assert_allclose(one.contribution, other.contribution, atol=1e-5)
            assert one.quality == other.quality


def test_a_sentence_of_ones_own_has_no_truth(folder: Path, split: Split) -> None:
    run = scenes_pair.trained(folder, "scan-t2i-mean")
    place = split.place(scenes_pair.IMAGE, scenes_pair.CAPTION)
    own = pair_record(run, split, scenes_pair.IMAGE, split.captions[place])
    known = pair_record(run, split, scenes_pair.IMAGE, place)
    assert own.score == known.score
    np.testing.assert_array_equal(own.directions[0].weights[0], known.directions[0].weights[0])
    assert (own.pair.true_boxes, own.directions[0].quality) == (None, [])


def test_small_pictures_are_small_and_boxes_fit_them(folder: Path, split: Split) -> None:
    run = scenes_pair.trained(folder, "scan-t2i-mean")
    (small,), (large,) = (records_of(run, split, [(0, 0)], small=s) for s in (True, False))
    assert small.pair.picture is not None
    assert large.pair.picture is not None
    assert len(small.pair.picture) < len(large.pair.picture) / 2
    assert small.pair.boxes is not None
    assert small.pair.boxes.max() <= max(small.pair.size) + 1


def test_a_method_that_does_not_attend_is_refused(folder: Path, split: Split) -> None:
    run = scenes_pair.trained(folder, "vse-mean")
    with pytest.raises(InputError, match="no attention"):
        pair_record(run, split, 0, 0)
