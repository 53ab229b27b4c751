"""What regulators do to many pairs: the numbers are those of one pair, read by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from itm_book.chapters.regulators_in_motion.regulation import (
    RegulatorTrace,
    hardest_images,
    mean_heat,
    motion,
    scores_on_the_way,
    stopped,
    with_uniform_pooling,
    without,
)
from itm_book.pairs.word_maps import read_pair
from itm_core.data.dataset import Split, load_dataset
from itm_core.errors import InputError
from itm_core.experiments import runs
from tests import scenes_pair
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("regulation")
    trained.cache_clear()


@cache
def trained(folder: Path, recipe: str) -> tuple[runs.Run, Split]:
    dataset = folder / "micro"
    if not dataset.exists():
        write_dataset(dataset)
    small = SMALL if recipe.startswith("vse") else (*SMALL, "regulator.width=4")
    run = runs.train_or_load(
        dataset, recipe, root=folder, overrides=small, device="cpu", progress=False
    )
    return run, load_dataset(dataset).test


@torch.no_grad()
def alone(run: runs.Run, split: Split, image: int, caption: int) -> SimpleNamespace:
    """Return every pass over one pair, read by itself and without padding."""
    look = read_pair(run, split, image, caption).directions[0]
    queries = look.passes[0].weights.sum(look.key_axis).numel()
    temperatures = [torch.as_tensor(seen.control.temperature) for seen in look.passes]
    factors = [seen.control.factors for seen in look.passes]
    return SimpleNamespace(
        weights=[seen.weights[0, :, 0].numpy() for seen in look.passes],
        temperature=[t.float().flatten().expand(queries).numpy() for t in temperatures],
        change=[
            np.zeros(queries) if f is None else ((f - 1) ** 2).mean(-1).sqrt().flatten().numpy()
            for f in factors
        ],
        pooling=[weights.flatten().numpy() for weights in look.pooling],
    )


@pytest.mark.parametrize("recipe", ["rcar-t2i", "rcar-i2t", "rar-t2i", "rcr-t2i", "chan"])
@pytest.mark.parametrize("own", [True, False])
def test_every_number_is_that_of_the_pair_read_by_itself(
    recipe: str, own: bool, folder: Path
) -> None:
    run, split = trained(folder, recipe)
    images = split.caption_image if own else (split.caption_image + 5) % len(split.ids)
    found = motion(run, split, None if own else images)
    words_ask = not recipe.endswith("i2t")
    assert found.direction == ("t2i" if words_ask else "i2t")
    for caption in (0, 7, 23, len(images) - 1):  # of different lengths
        slow, here = alone(run, split, int(images[caption]), caption), found.pair == caption
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_array_equal(found.place[here], np.arange(here.sum()))
        np.testing.assert_allclose(found.temperature[:, here], slow.temperature, **close)
        np.testing.assert_allclose(found.change[:, here], slow.change, **close)
        weights = [w if words_ask else w.T for w in slow.weights]
        np.testing.assert_allclose(found.best[:, here], [w.max(1) for w in weights], **close)
        entropy = [-(w * np.log(np.maximum(w, 1e-30))).sum(1) for w in weights]
        np.testing.assert_allclose(found.reach[:, here], np.exp(entropy), **close)
        moved = [np.abs(w - weights[0]).sum(1) / 2 for w in weights]
        np.testing.assert_allclose(found.moved[:, here], moved, **close)
        share = [weights * len(weights) for weights in slow.pooling]
        np.testing.assert_allclose(
            found.share[:, here], np.reshape(share, (-1, here.sum())), **close
        )
    right = run.scores[images, np.arange(len(images))]
    np.testing.assert_allclose(found.score, right, atol=1e-5)
    assert np.isnan(found.f1).all()  # this dataset does not know


def test_attention_quality_is_that_of_the_run(scenes_folder: Path) -> None:
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "rcar-t2i")
    found = motion(run, split)
    for name in ("f1", "mass"):
        mean = np.nanmean(getattr(found, name)[-1])
        assert mean == pytest.approx(run.metrics[f"t2i_attention_{name}"], abs=1e-5)
    assert np.isnan(motion(run, split, np.roll(split.caption_image, 5)).f1).all()


def test_the_clamp_counts_channels_at_one_and_minus_one(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    found = motion(run, split)
    assert np.isnan(found.clamped[0]).all()
    assert ((found.clamped[1] >= 0) & (found.clamped[1] <= 1)).all()
    held = found.clamped[1] == 1
    np.testing.assert_array_equal(found.change[1][held], 0)  # all channels as at the start


def hand_made(share: list[list[float]]) -> RegulatorTrace:
    shares = np.array(share)
    nothing = np.zeros((1, shares.shape[1]))
    pair, place = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 1, 2, 3])
    return RegulatorTrace("t2i", pair, place, *[nothing] * 8, share=shares, score=np.zeros(2))


def test_the_effective_number_of_words() -> None:
    found = hand_made([[1, 1, 1, 1, 1, 1], [2, 0, 2, 2, 0, 0]])
    np.testing.assert_allclose(found.effective, [[1, 1], [0.5, 0.5]])


def test_means_by_pair_skip_what_is_not_known() -> None:
    values = np.array([1, 3, np.nan, np.nan, 5, 7])
    np.testing.assert_array_equal(hand_made([[1] * 6]).by_pair(values), [2, 6])
    np.testing.assert_array_equal(hand_made([[1] * 6]).by_pair(values * np.nan), [np.nan] * 2)


def test_the_hardest_image_is_the_best_of_the_others() -> None:
    scores = np.array([[9, 1, 4, 4], [5, 3, 9, 9], [6, 3, 4, 5]], np.float32)
    scores = np.concatenate([scores, np.array([[0, 0], [1, 2], [7, 7]], np.float32)], 1)
    np.testing.assert_array_equal(hardest_images(scores, 2), [2, 1, 0, 2, 1, 1])


# --- parts taken away --------------------------------------------------------------------------


def test_a_regulator_that_stops_early_did_the_same_until_then(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    whole, one = motion(run, split), motion(run, split, matcher=stopped(run.matcher(), 1))
    assert (len(whole.reach), len(one.reach)) == (2, 1)
    np.testing.assert_allclose(one.reach[0], whole.reach[0], rtol=1e-6)
    np.testing.assert_allclose(one.share[0], whole.share[0], rtol=1e-6)
    same = motion(run, split, matcher=stopped(run.matcher(), 2))
    np.testing.assert_array_equal(same.score, whole.score)
    alone, _ = trained(folder, "rar-t2i")
    steps = motion(alone, split, matcher=stopped(alone.matcher(), 2)).share
    np.testing.assert_allclose(steps, motion(alone, split).share[:2], rtol=1e-6)


def test_even_weights_are_one(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    np.testing.assert_allclose(
        motion(run, split, matcher=with_uniform_pooling(run.matcher())).share, 1, rtol=1e-5
    )


def test_rcr_without_one_of_its_parts(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    whole, matcher = motion(run, split), run.matcher()
    cool = motion(run, split, matcher=without(matcher, "temperature"))
    np.testing.assert_array_equal(cool.temperature[1], whole.temperature[0])
    np.testing.assert_allclose(cool.change, whole.change, rtol=1e-6)
    plain = motion(run, split, matcher=without(matcher, "factors"))
    np.testing.assert_array_equal(plain.change, 0)
    np.testing.assert_allclose(plain.temperature, whole.temperature, rtol=1e-6)
    heat = mean_heat(whole)
    even = motion(run, split, matcher=without(matcher, "temperature", mean=heat))
    np.testing.assert_allclose(even.temperature[1], whole.temperature[0] + heat, rtol=1e-5)
    np.testing.assert_array_equal(motion(run, split, matcher=matcher).score, whole.score)


def test_scores_on_the_way_end_at_the_score(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    other = np.roll(split.caption_image, 5)
    found = scores_on_the_way(run, split, {"own": split.caption_image, "wrong": other})
    assert list(found["own"]) == ["equal weights", "step 1", "step 2"]
    for name, images in (("own", split.caption_image), ("wrong", other)):
        right = run.scores[images, np.arange(len(images))]
        np.testing.assert_allclose(found[name]["step 2"], right, atol=1e-5)


def test_what_is_not_there_cannot_be_taken_away(folder: Path) -> None:
    host, split = trained(folder, "scan-t2i-mean")
    for call in (lambda m: stopped(m, 1), with_uniform_pooling, lambda m: without(m, "factors")):
        with pytest.raises(InputError, match="no regulator here"):
            call(host.matcher())
    rar = trained(folder, "rar-t2i")[0].matcher()
    with pytest.raises(InputError, match="RCR is not there"):
        without(rar, "factors")
    with pytest.raises(InputError, match="no such step; expected 1 to 3, found 4"):
        stopped(rar, 4)
    with pytest.raises(InputError, match="RAR's weights are not there"):
        with_uniform_pooling(trained(folder, "rcr-t2i")[0].matcher())
    with pytest.raises(InputError, match="unknown value of part of RCR"):
        without(rar, "weights")
    blind, _ = trained(folder, "vse-mean")
    with pytest.raises(InputError, match="nothing attends here"):
        motion(blind, split)
