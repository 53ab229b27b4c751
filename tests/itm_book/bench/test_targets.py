"""Targets: met, missed with a reason, or not run."""

from __future__ import annotations

import pandas as pd

from itm_book.bench import targets
from itm_book.tables.report import note_of


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
        row(times_reference=1.2, floor=4.0),  # even the floor is only twice as fast as the twin
    ]
    found = targets.on_cpu(pd.DataFrame(rows))
    assert found["met"].tolist() == ["yes", "no", "no"]
    said = found["what stands between"].tolist()
    assert said[0] == ""
    assert "2.0 x its floor: 40% of the time" in said[1]
    assert "beyond what the products alone allow" in said[2]
    assert found["floor"].tolist() == ["8.0 x", "8.0 x", "2.0 x"]


def test_fast_methods_have_a_second_target() -> None:
    found = targets.on_cpu(pd.DataFrame([row(method="CHAN", times_reference=9.0, times_bare=1.5)]))
    assert found["met"].tolist() == ["yes", "yes"]
    assert found["floor"].tolist()[1] == "2.00 x"


def test_what_was_not_run_on_a_gpu_is_said() -> None:
    found = targets.on_gpu(pd.DataFrame([row()]))
    assert set(found["measured"]) == {"not run"}
    coco = row(device="cuda", precision="tf32", ours=4.2, **targets.COCO_5K)
    there = targets.on_gpu(pd.DataFrame([coco])).set_index("method")
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
    found = targets.training(pd.DataFrame(rows))
    assert found.columns.tolist() == ["method", "target", "measured", "met", "machine"]
    assert found["method"].tolist() == [
        *("SCAN t2i", "SCAN t2i", "RCAR-2 t2i", "RCAR-2 t2i", "SGR", "SGR"),
    ]
    assert found["measured"].tolist() == [
        *("not run", "not run", "41.0 ms a step", "20.0 GiB", "20.0 ms a step", "25.0 GiB"),
    ]
    assert found["met"].tolist() == ["", "", "no", "yes", "yes", "no"]
    assert found["machine"].tolist()[1:3] == ["", "a card (tf32)"]
    assert found["target"].tolist()[:2] == ["at most 15 ms a step", "at most 24 GiB"]


def test_memory_is_that_of_the_largest_gallery() -> None:
    grown = pd.DataFrame(
        {"device": "cpu", "peak": [500.0, 2100.0], "images": [1000, 16000], "method": "CHAN"}
    )
    found = targets.memory(grown).set_index("device")
    assert found.loc["cpu"].tolist()[1:] == ["2.05 GiB", "no", "up to 16,000"]
    assert found.loc["cuda", "measured"] == "not run"
    assert targets.memory(grown.assign(peak=900.0)).loc[0, "met"] == "yes"


def test_what_uncommitted_code_has_measured_is_marked() -> None:
    old = {"commit": "c0082a58b567+"}
    new = {"commit": "c0082a58b567"}
    coco = {"device": "cuda", "precision": "tf32", **targets.COCO_5K}
    grown = {"device": "cpu", "images": 5, "peak": 9.0}
    for found, count in (
        (targets.on_cpu(pd.DataFrame([row(method="CHAN", **old), row(**new)])), 2),
        (targets.on_gpu(pd.DataFrame([row(ours=0.1, **coco, **old), row(**coco, **new)])), 1),
        (targets.on_gpu(pd.DataFrame([row(**coco, **old), row(ours=0.1, **coco, **new)])), 0),
        (targets.training(pd.DataFrame([step(**old), step(seconds=9.0, **new)])), 2),
        (targets.memory(pd.DataFrame([grown | old, grown | {"peak": 3.0} | new])), 1),
        (targets.memory(pd.DataFrame([grown | new, grown | {"peak": 3.0} | old])), 0),
    ):
        marks = [note is not None and note.uncommitted for note in map(note_of, found["measured"])]
        assert sum(marks) == count
        assert "not run" not in set(found["measured"][marks])
