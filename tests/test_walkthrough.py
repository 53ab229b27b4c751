"""One pair step by step: what the chapters draw is what the matcher computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_core import runs
from itm_core.data.precomp import load_dataset
from itm_core.errors import InputError
from itm_core.walkthrough import passes, scan_steps
from itm_core.word_maps import read_pair
from tests.micro import SMALL, write_dataset


def trained(folder: Path, recipe: str) -> runs.Run:
    dataset = write_dataset(folder / "micro")
    small = SMALL if recipe.startswith("vse") else (*SMALL, "regulator.width=4")
    return runs.train_or_load(
        dataset, recipe, root=folder, overrides=small, device="cpu", progress=False
    )


@pytest.mark.parametrize("recipe", ["rcar-t2i", "rcar-i2t"])
def test_every_pass_of_a_regulated_matcher(recipe: str, tmp_path: Path) -> None:
    run = trained(tmp_path, recipe)
    split = load_dataset(tmp_path / "micro").test
    found = passes(run, split, 1, 5)
    look = read_pair(run, split, 1, 5).looks[0]
    queries = len(found.words) if recipe.endswith("t2i") else split.regions.shape[1]
    assert len(found.weights) == 2
    start = run.recipe.matcher.attention_temperature  # type: ignore[union-attr]
    np.testing.assert_array_equal(found.temperature[0], np.full(queries, start, np.float32))
    np.testing.assert_array_equal(found.change[0], np.zeros(queries))
    factors = look.passes[1].steering.factors
    assert factors is not None
    by_hand = np.sqrt(np.mean((factors.numpy().reshape(queries, -1) - 1) ** 2, axis=1))
    np.testing.assert_allclose(found.change[1], by_hand, rtol=1e-5)
    assert [len(weights) for weights in found.pooling] == [queries, queries]
    assert sum(found.pooling[0]) == pytest.approx(1, abs=1e-5)
    axis = 1 if recipe.endswith("t2i") else 0
    np.testing.assert_allclose(found.weights[1].sum(axis), 1, atol=1e-5)


def test_a_host_has_one_pass_and_no_pooling(tmp_path: Path) -> None:
    run = trained(tmp_path, "scan-t2i-mean")
    split = load_dataset(tmp_path / "micro").test
    found = passes(run, split, 0, 0)
    steps = scan_steps(run, split, 0, 0)
    np.testing.assert_array_equal(found.weights[0], steps.weights)
    assert (len(found.weights), found.pooling) == (1, [])
    assert found.contribution.sum() == pytest.approx(steps.score, abs=1e-5)


def test_a_method_of_one_vector_a_side_has_no_passes(tmp_path: Path) -> None:
    run = trained(tmp_path, "vse-mean")
    split = load_dataset(tmp_path / "micro").test
    with pytest.raises(InputError, match="nothing attends"):
        passes(run, split, 0, 0)
    with pytest.raises(InputError, match="those of SCAN"):
        scan_steps(run, split, 0, 0)
