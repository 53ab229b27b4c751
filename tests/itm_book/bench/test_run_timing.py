"""Timings: every run is timed, and the fastest is the measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm_book.bench.run_timing import scoring_times
from itm_core.data.dataset import load_dataset
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset


def test_every_run_has_a_time_and_the_fastest_is_one(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "micro")
    made = {
        name: runs.train_or_load(
            dataset, name, root=tmp_path, overrides=SMALL, device="cpu", progress=False
        )
        for name in ("scan-t2i-mean", "vse-mean")
    }
    split = load_dataset(dataset).test
    table = scoring_times(made, split, repeats=2)
    assert table["method"].tolist() == list(made)
    assert table["times the fastest"].min() == 1
    pairs = len(split.regions) * len(split.captions)
    rate = table["thousand pairs per second"] * table["milliseconds"]
    np.testing.assert_allclose(rate, pairs)
    few = scoring_times(made, split, repeats=1, images=3)
    rate = few["thousand pairs per second"] * few["milliseconds"]
    np.testing.assert_allclose(rate, 3 * 15)  # five captions of each
