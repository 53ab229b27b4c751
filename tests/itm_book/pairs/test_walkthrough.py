"""One pair step by step: what the chapters draw is what the matcher computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.pairs.walkthrough import scan_steps
from itm_book.pairs.word_maps import read_pair
from itm_core.data.dataset import load_dataset
from itm_core.errors import InputError
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset


def trained(folder: Path, recipe: str) -> runs.Run:
    dataset = write_dataset(folder / "micro")
    small = SMALL if recipe.startswith("vse") else (*SMALL, "regulator.width=4")
    return runs.train_or_load(
        dataset, recipe, root=folder, overrides=small, device="cpu", progress=False
    )


def test_the_steps_are_those_of_the_score(tmp_path: Path) -> None:
    run = trained(tmp_path, "scan-t2i-mean")
    split = load_dataset(tmp_path / "micro").test
    output = read_pair(run, split, 0, 0).directions[0]
    steps = scan_steps(run, split, 0, 0)
    np.testing.assert_array_equal(steps.weights, output.passes[0].weights[0, :, 0].numpy())
    assert steps.relevance.mean() == pytest.approx(steps.score, abs=1e-5)


def test_the_steps_are_those_of_scan(tmp_path: Path) -> None:
    run = trained(tmp_path, "vse-mean")
    split = load_dataset(tmp_path / "micro").test
    with pytest.raises(InputError, match="steps of SCAN"):
        scan_steps(run, split, 0, 0)
