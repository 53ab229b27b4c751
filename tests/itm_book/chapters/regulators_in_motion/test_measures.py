"""Traces of regulators over many pairs: equal to those of each pair scored by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from itm_book.chapters.regulators_in_motion.measures import (
    RegulatorTrace,
    ablate,
    hard_negatives,
    mean_temperature_rise,
    regulator_trace,
    truncate_steps,
    truncated_scores,
    with_uniform_pooling,
)
from itm_book.pairs.word_maps import read_pair
from itm_core.data.dataset import Split, load_dataset
from itm_core.errors import InputError
from itm_core.experiments import runs
from tests import scenes_pair
from tests.micro import SMALL, write_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("traces")
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
    output = read_pair(run, split, image, caption).directions[0]
    queries = output.passes[0].weights.sum(output.key_axis).numel()
    temperatures = [torch.as_tensor(attention.control.temperature) for attention in output.passes]
    factors = [attention.control.factors for attention in output.passes]
    return SimpleNamespace(
        weights=[attention.weights[0, :, 0].numpy() for attention in output.passes],
        temperature=[t.float().flatten().expand(queries).numpy() for t in temperatures],
        factor_change=[
            np.zeros(queries) if f is None else ((f - 1) ** 2).mean(-1).sqrt().flatten().numpy()
            for f in factors
        ],
        pooling=[weights.flatten().numpy() for weights in output.pooling],
    )


@pytest.mark.parametrize("recipe", ["rcar-t2i", "rcar-i2t", "rar-t2i", "rcr-t2i", "chan"])
@pytest.mark.parametrize("matching", [True, False])
def test_every_number_is_that_of_the_pair_read_by_itself(
    recipe: str, matching: bool, folder: Path
) -> None:
    run, split = trained(folder, recipe)
    images = split.caption_image if matching else (split.caption_image + 5) % len(split.ids)
    trace = regulator_trace(run, split, None if matching else images)
    queries_are_words = not recipe.endswith("i2t")
    assert trace.direction == ("t2i" if queries_are_words else "i2t")
    for caption in (0, 7, 23, len(images) - 1):  # of different lengths
        slow, of_pair = alone(run, split, int(images[caption]), caption), trace.pair == caption
        close = {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_array_equal(trace.position[of_pair], np.arange(of_pair.sum()))
        np.testing.assert_allclose(trace.temperature[:, of_pair], slow.temperature, **close)
        np.testing.assert_allclose(trace.factor_change[:, of_pair], slow.factor_change, **close)
        weights = [w if queries_are_words else w.T for w in slow.weights]
        np.testing.assert_allclose(
            trace.max_weight[:, of_pair], [w.max(1) for w in weights], **close
        )
        entropy = [-(w * np.log(np.maximum(w, 1e-30))).sum(1) for w in weights]
        np.testing.assert_allclose(trace.effective_keys[:, of_pair], np.exp(entropy), **close)
        moved = [np.abs(w - weights[0]).sum(1) / 2 for w in weights]
        np.testing.assert_allclose(trace.shift[:, of_pair], moved, **close)
        weights_by_step = [weights * len(weights) for weights in slow.pooling]
        np.testing.assert_allclose(
            trace.pooling[:, of_pair], np.reshape(weights_by_step, (-1, of_pair.sum())), **close
        )
    right = run.scores[images, np.arange(len(images))]
    np.testing.assert_allclose(trace.score, right, atol=1e-5)
    assert np.isnan(trace.f1).all()  # this dataset does not know


def test_attention_quality_is_that_of_the_run(scenes_folder: Path) -> None:
    split = scenes_pair.scenes(scenes_folder)
    run = scenes_pair.trained(scenes_folder, "rcar-t2i")
    trace = regulator_trace(run, split)
    for name in ("f1", "mass"):
        mean = np.nanmean(getattr(trace, name)[-1])
        assert mean == pytest.approx(run.metrics[f"t2i_attention_{name}"], abs=1e-5)
    assert np.isnan(regulator_trace(run, split, np.roll(split.caption_image, 5)).f1).all()


def test_the_clamp_counts_channels_at_one_and_minus_one(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    trace = regulator_trace(run, split)
    assert np.isnan(trace.clamped[0]).all()
    assert ((trace.clamped[1] >= 0) & (trace.clamped[1] <= 1)).all()
    at_clamp = trace.clamped[1] == 1
    np.testing.assert_array_equal(
        trace.factor_change[1][at_clamp], 0
    )  # all channels as at the start


def hand_made(weights_by_step: list[list[float]]) -> RegulatorTrace:
    pooling = np.array(weights_by_step)
    nothing = np.zeros((1, pooling.shape[1]))
    pair, place = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 0, 1, 2, 3])
    return RegulatorTrace("t2i", pair, place, *[nothing] * 8, pooling=pooling, score=np.zeros(2))


def test_the_effective_number_of_words() -> None:
    trace = hand_made([[1, 1, 1, 1, 1, 1], [2, 0, 2, 2, 0, 0]])
    np.testing.assert_allclose(trace.effective_queries, [[1, 1], [0.5, 0.5]])


def test_means_by_pair_skip_what_is_not_known() -> None:
    values = np.array([1, 3, np.nan, np.nan, 5, 7])
    np.testing.assert_array_equal(hand_made([[1] * 6]).by_pair(values), [2, 6])
    np.testing.assert_array_equal(hand_made([[1] * 6]).by_pair(values * np.nan), [np.nan] * 2)


def test_the_hard_negative_is_the_best_of_the_other_images() -> None:
    scores = np.array([[9, 1, 4, 4], [5, 3, 9, 9], [6, 3, 4, 5]], np.float32)
    scores = np.concatenate([scores, np.array([[0, 0], [1, 2], [7, 7]], np.float32)], 1)
    np.testing.assert_array_equal(hard_negatives(scores), [2, 1, 0, 2, 1, 1])


# --- ablation ----------------------------------------------------------------------------------


def test_truncation_leaves_earlier_steps_unchanged(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    full, truncated = (
        regulator_trace(run, split),
        regulator_trace(run, split, matcher=truncate_steps(run.matcher(), 1)),
    )
    assert (len(full.effective_keys), len(truncated.effective_keys)) == (2, 1)
    np.testing.assert_allclose(truncated.effective_keys[0], full.effective_keys[0], rtol=1e-6)
    np.testing.assert_allclose(truncated.pooling[0], full.pooling[0], rtol=1e-6)
    same = regulator_trace(run, split, matcher=truncate_steps(run.matcher(), 2))
    np.testing.assert_array_equal(same.score, full.score)
    alone, _ = trained(folder, "rar-t2i")
    steps = regulator_trace(alone, split, matcher=truncate_steps(alone.matcher(), 2)).pooling
    np.testing.assert_allclose(steps, regulator_trace(alone, split).pooling[:2], rtol=1e-6)


def test_uniform_weights_are_one(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    np.testing.assert_allclose(
        regulator_trace(run, split, matcher=with_uniform_pooling(run.matcher())).pooling,
        1,
        rtol=1e-5,
    )


def test_rcr_with_one_part_ablated(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    full, matcher = regulator_trace(run, split), run.matcher()
    constant = regulator_trace(run, split, matcher=ablate(matcher, "temperature"))
    np.testing.assert_array_equal(constant.temperature[1], full.temperature[0])
    np.testing.assert_allclose(constant.factor_change, full.factor_change, rtol=1e-6)
    plain = regulator_trace(run, split, matcher=ablate(matcher, "factors"))
    np.testing.assert_array_equal(plain.factor_change, 0)
    np.testing.assert_allclose(plain.temperature, full.temperature, rtol=1e-6)
    rise = mean_temperature_rise(full)
    uniform = regulator_trace(run, split, matcher=ablate(matcher, "temperature", mean=rise))
    np.testing.assert_allclose(uniform.temperature[1], full.temperature[0] + rise, rtol=1e-5)
    np.testing.assert_array_equal(regulator_trace(run, split, matcher=matcher).score, full.score)


def test_truncated_scores_end_at_the_score(folder: Path) -> None:
    run, split = trained(folder, "rcar-t2i")
    other = np.roll(split.caption_image, 5)
    scores = truncated_scores(run, split, {"matching": split.caption_image, "negative": other})
    assert list(scores["matching"]) == ["uniform weights", "step 1", "step 2"]
    for name, images in (("matching", split.caption_image), ("negative", other)):
        right = run.scores[images, np.arange(len(images))]
        np.testing.assert_allclose(scores[name]["step 2"], right, atol=1e-5)


def test_parts_that_a_matcher_lacks_cannot_be_ablated(folder: Path) -> None:
    host, split = trained(folder, "scan-t2i-mean")
    for call in (
        lambda m: truncate_steps(m, 1),
        with_uniform_pooling,
        lambda m: ablate(m, "factors"),
    ):
        with pytest.raises(InputError, match="has no regulator"):
            call(host.matcher())
    rar = trained(folder, "rar-t2i")[0].matcher()
    with pytest.raises(InputError, match="no correction of the attention"):
        ablate(rar, "factors")
    with pytest.raises(InputError, match="steps out of range; expected 1 to 3, found 4"):
        truncate_steps(rar, 4)
    with pytest.raises(InputError, match="no pooling weights"):
        with_uniform_pooling(trained(folder, "rcr-t2i")[0].matcher())
    with pytest.raises(InputError, match="unknown value of part of RCR"):
        ablate(rar, "weights")
    blind, _ = trained(folder, "vse-mean")
    with pytest.raises(InputError, match="no attention to trace"):
        regulator_trace(blind, split)
