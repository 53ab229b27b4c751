"""Targets: met, missed with a reason, or not run; and the effect of reduced precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from itm_book.bench import record
from itm_book.chapters import benchmarks
from itm_book.tables.notes import note_of
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import recipes
from tests.itm_core.evaluation.test_scoring import some_data


def row(**values: object) -> dict[str, object]:
    known = {
        "method": "SAF",
        "device": "cpu",
        "precision": "float32",
        "reference": 8.0,
        "floor": 1.0,
        "bare": 0.5,
        "products": 0.6,
        "times_reference": 4.0,
        "times_bare": 4.0,
        "times_floor": 2.0,
        "ours": 2.0,
        "machine": "a machine",
    }
    return known | {"images": 100, "captions": 500, "width": 1024, "similarity": 256} | values


def test_a_target_is_met_missed_or_beyond_reach() -> None:
    rows = [
        row(),
        row(times_reference=2.0),
        row(
            times_reference=1.2, floor=4.0
        ),  # even the floor is only twice as fast as the reference
    ]
    found = benchmarks.cpu_targets(pd.DataFrame(rows))
    assert found["met"].tolist() == ["yes", "no", "no"]
    reasons = found["reason"].tolist()
    assert reasons[0] == ""
    assert "2.0 x the floor: 40% of the time" in reasons[1]
    assert "the products alone already take longer" in reasons[2]
    assert found["floor"].tolist() == ["8.0 x", "8.0 x", "2.0 x"]


def test_fast_methods_have_a_second_target() -> None:
    found = benchmarks.cpu_targets(
        pd.DataFrame([row(method="CHAN", times_reference=9.0, times_bare=1.5)])
    )
    assert found["met"].tolist() == ["yes", "yes"]
    assert found["floor"].tolist()[1] == "2.00 x"


def test_what_was_not_run_on_a_gpu_is_said() -> None:
    found = benchmarks.gpu_targets(pd.DataFrame([row()]))
    assert set(found["measured"]) == {"not run"}
    coco = row(device="cuda", precision="tf32", ours=4.2, **benchmarks.COCO_5K)
    there = benchmarks.gpu_targets(pd.DataFrame([coco])).set_index("method")
    assert there.loc["SAF", "measured"] == "4.20 s"
    assert there.loc["SAF", "met"] == "yes"
    assert there.loc["SGR", "measured"] == "not run"


def step(**values: object) -> dict[str, object]:
    known = {"recipe": "sgr-f30k", "negatives": "hardest", "batch": 128, "device": "cuda"}
    sizes = {"precision": "tf32", "machine": "a card", "seconds": 0.030, "peak": 20.0}
    return known | sizes | values


def test_a_training_step_is_met_missed_or_not_run() -> None:
    rows = [
        step(),
        step(seconds=0.020, peak=25.0),  # the fastest counts, with its memory
        step(recipe="rcar-t2i-f30k", seconds=0.041),
        step(recipe="scan-t2i-mean-f30k", batch=64),
        step(recipe="scan-t2i-mean-f30k", device="cpu"),
        step(recipe="scan-t2i-mean-f30k", negatives="all"),
    ]
    found = benchmarks.training_targets(pd.DataFrame(rows))
    assert found.columns.tolist() == ["method", "target", "measured", "met", "missed by", "machine"]
    assert found["method"].tolist() == [
        *("SCAN t2i", "SCAN t2i", "RCAR-2 t2i", "RCAR-2 t2i", "SGR", "SGR"),
    ]
    assert found["measured"].tolist() == [
        *("not run", "not run", "41.0 ms a step", "20.0 GiB", "20.0 ms a step", "25.0 GiB"),
    ]
    assert found["met"].tolist() == ["", "", "no", "yes", "yes", "no"]
    assert found["missed by"].tolist() == ["", "", "1.02 x the target", "", "", "1.04 x the target"]
    assert found["machine"].tolist()[1:3] == ["", "a card (tf32)"]
    assert found["target"].tolist()[:2] == ["at most 15 ms a step", "at most 24 GiB"]


def test_checks_of_a_gpu_are_met_missed_or_not_run() -> None:
    empty = benchmarks.gpu_checks(record.read_any("gpu", Path("nowhere")))
    assert empty["measured"].tolist() == ["not run"]
    rows = [{"check": name, "measured": value, "limit": 2.0} for name, value in CHECKS.items()]
    setup = {"device": "cuda", "machine": "a card", "commit": "c0082a58b567"}
    found = benchmarks.gpu_checks(pd.DataFrame([row | setup for row in rows]))
    assert found["met"].tolist() == ["yes", "no", "no"]
    assert found["missed by"].tolist() == ["", "1.50 x the target", "nan x the target"]


CHECKS = {"fine": 2.0, "too large": 3.0, "no number": float("nan")}


def test_a_step_on_the_pretend_accelerator_has_its_peak_and_its_waits() -> None:
    known = {"negatives": "all", "batch": 128, "precision": "float32", "before": 0.14, "waits": 6}
    rows = [
        known | {"recipe": name, "peak": peak, "waits_for": "nonzero 1", "commit": "c0082a58b567"}
        for name, peak in (("scan", 0.75), ("large", 24.5))
    ]
    empty = record.readable_steps(record.read_any("steps", Path("nowhere")), benchmarks.GIB)
    assert empty["peak, GiB"].tolist() == ["not run"]
    found = record.readable_steps(pd.DataFrame(rows), benchmarks.GIB)
    assert found["peak, GiB"].tolist() == ["0.75", "24.50"]
    assert found["at most 24 GiB"].tolist() == ["yes", "no"]
    assert found["waits"].tolist() == [6, 6]


def test_memory_is_that_of_the_largest_gallery() -> None:
    grown = pd.DataFrame(
        {"device": "cpu", "peak": [500.0, 2100.0], "images": [1000, 16000], "method": "CHAN"}
    )
    found = benchmarks.memory_targets(grown).set_index("device")
    assert found.loc["cpu"].tolist()[1:] == ["2.05 GiB", "no", "up to 16,000"]
    assert found.loc["cuda", "measured"] == "not run"
    assert benchmarks.memory_targets(grown.assign(peak=900.0)).loc[0, "met"] == "yes"


def test_what_uncommitted_code_has_measured_is_marked() -> None:
    old = {"commit": "c0082a58b567+"}
    new = {"commit": "c0082a58b567"}
    coco = {"device": "cuda", "precision": "tf32", **benchmarks.COCO_5K}
    grown = {"device": "cpu", "images": 5, "peak": 9.0}
    for found, count in (
        (benchmarks.cpu_targets(pd.DataFrame([row(method="CHAN", **old), row(**new)])), 2),
        (
            benchmarks.gpu_targets(
                pd.DataFrame([row(ours=0.1, **coco, **old), row(**coco, **new)])
            ),
            1,
        ),
        (
            benchmarks.gpu_targets(
                pd.DataFrame([row(**coco, **old), row(ours=0.1, **coco, **new)])
            ),
            0,
        ),
        (benchmarks.training_targets(pd.DataFrame([step(**old), step(seconds=9.0, **new)])), 2),
        (benchmarks.memory_targets(pd.DataFrame([grown | old, grown | {"peak": 3.0} | new])), 1),
        (benchmarks.memory_targets(pd.DataFrame([grown | new, grown | {"peak": 3.0} | old])), 0),
    ):
        marks = [note is not None and note.uncommitted for note in map(note_of, found["measured"])]
        assert sum(marks) == count
        assert "not run" not in set(found["measured"][marks])


def test_moved_ranks_are_counted_in_both_directions() -> None:
    plain = np.kron(np.eye(2), np.ones(5)).astype(np.float32)  # all right answers first
    short = plain.copy()
    short[1, 0] = 1.5  # the first caption now finds the wrong image, and the second image it
    found = benchmarks._changes(plain, short, np.repeat([0, 1], 5))
    assert found["ranks moved"] == pytest.approx(100 * 2 / 12)  # of two images and ten captions
    assert found["largest difference"] == "1.5000"
    assert found["R@1 t2i"] == pytest.approx(-10)
    assert found["R@1 i2t"] == pytest.approx(-50)
    same = benchmarks._changes(plain, plain, np.repeat([0, 1], 5))
    assert same["ranks moved"] == same["rSum"] == 0


def test_tf32_keeps_ten_bits_of_the_factors() -> None:
    x = torch.tensor([1 + 2**-10, 1 + 2**-10 + 2**-11, -3 - 2**-12])
    assert benchmarks.truncate_to_tf32(x).tolist() == [1 + 2**-10, 1 + 2**-10, -3]
    whole = torch.tensor([1, 2])
    assert benchmarks.truncate_to_tf32(whole) is whole


@pytest.mark.parametrize("product", [torch.mm, torch.nn.functional.linear])
def test_only_products_are_shortened(product: Callable[..., torch.Tensor]) -> None:
    torch.manual_seed(0)
    x, y, b = torch.randn(5, 5), torch.randn(5, 5), torch.randn(5)
    given = (x, y, b) if product is torch.nn.functional.linear else (x, y)
    with benchmarks.TF32Products():
        short, sums = product(*given), x + y
    shortened = (benchmarks.truncate_to_tf32(x), benchmarks.truncate_to_tf32(y), *given[2:])
    torch.testing.assert_close(short, product(*shortened), rtol=0, atol=0)
    assert (short - product(*given)).abs().max() > 0
    assert torch.equal(sums, x + y)


def test_the_shorter_scores_are_near_the_plain_ones() -> None:
    matcher = recipes.get("scan-t2i-mean").replace("encoder.embedding=32").build(5, 20, 4)
    features, captions = some_data(7, 9)
    plain = score_matrix(matcher, features, captions)
    short = benchmarks._scores_in(matcher, features, captions, "tf32")
    assert 0 < np.abs(short - plain).max() < 5e-3
