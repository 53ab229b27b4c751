"""A training step: settings, measurement, record. Times themselves are not tested."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from itm_book.bench import record, training
from itm_book.bench.training import StepSettings, StepTiming
from itm_book.tables.notes import note_of
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.evaluation import scoring

RECIPE = "scan-t2i-mean-smoke"


def settings(**values: object) -> StepSettings:
    return dataclasses.replace(StepSettings(recipe=RECIPE, negatives="hardest", batch=4), **values)


@pytest.mark.parametrize("negatives", training.NEGATIVES)
def test_steps_are_measured(negatives: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    step = training.gradient_step

    def counted(*given: object, **named: object) -> float:
        seen.append(named["hardest"])
        return step(*given, **named)

    monkeypatch.setattr(training, "gradient_step", counted)
    step_timing = training.measure(settings(negatives=negatives, repeats=2))
    assert seen == [negatives == "hardest"] * 3  # one to warm up
    assert step_timing.seconds > 0
    assert step_timing.peak >= step_timing.before > 0.05
    assert step_timing.tile == scoring.CACHE_TILE
    assert (step_timing.recipe, step_timing.negatives, step_timing.batch, step_timing.repeats) == (
        RECIPE,
        negatives,
        4,
        2,
    )
    assert f"{negatives} negatives" in step_timing.line()


def test_a_step_changes_the_weights_at_the_precision_that_is_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    precisions, optimisers = [], []
    matmul_precision, make = scoring.matmul_precision, training.make_optimiser

    def recording(device: torch.device, precision: str) -> object:
        precisions.append(precision)
        return matmul_precision(device, precision)

    monkeypatch.setattr(scoring, "matmul_precision", recording)
    monkeypatch.setattr(
        training, "make_optimiser", lambda *given: optimisers.append(make(*given)) or optimisers[0]
    )
    training.measure(settings(precision="tf32", repeats=1))
    assert set(precisions) == {"tf32"}
    state = optimisers[0].state
    assert len(state) > 0
    assert {int(one["step"]) for one in state.values()} == {2}


def test_positions_widen_the_features_of_a_batch() -> None:
    batch = training.random_batch(4, training.FEATURES + 30, torch.device("cpu"))
    assert batch.features.shape == (4, 36, training.FEATURES + 30)
    assert batch.tokens.shape == (4, batch.lens[0])
    assert ((batch.tokens > 0).sum(1) == batch.lens).all()


def test_settings_are_checked() -> None:
    for wrong, message in (
        ({"recipe": "scam-f30k"}, "unknown recipe"),
        ({"negatives": "some"}, "negatives"),
        ({"precision": "bfloat16"}, "float32, tf32"),
        ({"batch": 1}, "batch"),
        ({"repeats": 0}, "repeats"),
        ({"tile": 0}, "tile"),
        ({"device": "tpu"}, "device"),
    ):
        with pytest.raises(InputError, match=message):
            settings(**wrong)


def test_the_command_measures_and_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save, threads = record.save, torch.get_num_threads()
    monkeypatch.setattr(record, "save", lambda kind, rows: save(kind, rows, tmp_path))
    monkeypatch.setattr(training, "NEGATIVES", ("hardest",))  # a process is enough
    sizes = f"--batch 4 --repeats 1 --tile 5000 --threads {threads}".split()
    assert main(["bench", "training", RECIPE, *sizes, "--record"]) == 0
    assert "hardest negatives" in capsys.readouterr().out
    found = record.read("training", tmp_path)
    assert found["negatives"].tolist() == ["hardest"]
    assert set(found["tile"]) == {5000}
    assert set(found["threads"]) == {threads}
    assert found["torch"].all()


def test_a_process_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = settings()
    object.__setattr__(wrong, "recipe", "scam-f30k")  # past the checks, so that the process fails
    with pytest.raises(InputError, match="ended early.*scam-f30k with hardest.*unknown recipe"):
        list(training.time_steps([wrong]))


def timing(**values: object) -> StepTiming:
    one = StepTiming(
        recipe="sgr-f30k",
        negatives="all",
        batch=128,
        precision="float32",
        seconds=3.0,
        peak=2.0,
        before=0.5,
        tile=4_000_000,
        repeats=3,
    )
    return dataclasses.replace(one, **values)


def test_recorded_steps_are_shown_side_by_side() -> None:
    hardest = {"negatives": "hardest", "seconds": 1.5, "peak": 1.0}
    steps = [
        timing(),
        timing(**hardest),
        timing(recipe=training.RECIPES[0]),
        timing(batch=64),
    ]
    rows = record.training_at(record.training_rows(steps, "cpu"), batch=128)
    shown = record.readable_training(rows)
    assert shown["recipe"].tolist() == [training.RECIPES[0], "sgr-f30k"]
    assert shown["all negatives: a step, s"].tolist() == ["3.00", "3.00"]
    assert shown["hardest negatives: a step, s"].tolist() == ["", "1.50"]
    assert shown["hardest negatives: peak, GiB"].tolist() == ["", "1.00"]
    assert shown["tile, million floats"].tolist() == ["4.0", "4.0"]
    assert "128 pairs, float32" in record.training_caption(rows)
    rows["commit"] = ["c0082a58b567", "c0082a58b567", "c0082a58b567+"]
    notes = record.readable_training(rows).map(note_of)
    marks = notes.map(lambda note: note is not None and note.uncommitted)
    (old,) = rows.loc[2, ["negatives"]]
    assert marks.any()[marks.any()].index.tolist() == [
        f"{old} negatives: a step, s",
        f"{old} negatives: peak, GiB",
    ]
    assert marks.any(axis=1).tolist() == [False, True]
    with pytest.raises(InputError, match="nothing of this kind"):
        record.training_at(rows, device="cuda")
