"""Trainings under rounding variants: settings, processes, records, skipped rows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from itm_book.bench import spread
from itm_book.bench.spread import VARIANTS, VariantTraining, measure, train_all, variant_trainings
from itm_book.records import rounding
from itm_core.cli import main
from itm_core.errors import InputError
from tests.micro import write_dataset

RECIPE = "scan-t2i-mean-smoke"
SHORT = ("training.epochs=1", "encoder.embedding=8", "encoder.word_width=8")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "micro")


@pytest.fixture(autouse=True)
def threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rounding, "RECORD", tmp_path / "spread.csv")
    monkeypatch.setattr(spread, "current_commit", lambda: "0123456789ab")
    return tmp_path / "spread.csv"


def row_of(argument: Any, environments: list[dict[str, str]]) -> dict[str, Any]:
    """The row that a training's process would print, without training."""
    training = VariantTraining(**argument)
    return dict(zip(rounding.KEY, training.key, strict=True)) | {
        "rsum": 300.0 + training.seed + len(environments),
        "i2t_r1": 20.0,
        "t2i_r1": 15.0,
        "threads": VARIANTS[training.variant].threads,
        "dtype": VARIANTS[training.variant].precision,
        "minutes": 1.0,
        "machine": "a processor",
        "torch": "2",
        "commit": "0123456789ab",
        "made": "2026-11-28",
    }


@pytest.fixture
def environments(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    environments: list[dict[str, str]] = []

    def run(module: str, argument: Any, *, environment: dict[str, str], **_: Any) -> Any:
        assert module == "itm_book.bench.spread"
        environments.append(environment)
        return row_of(argument, environments)

    monkeypatch.setattr(spread, "run_isolated", run)
    return environments


def test_every_recipe_has_every_seed_and_variant() -> None:
    trainings = variant_trainings(
        [RECIPE, "chan-smoke"], [0, 2], ["1 thread", "avx2"], dataset="data/x"
    )
    assert len({training.key for training in trainings}) == len(trainings) == 8
    assert trainings[1].key == ("x", RECIPE, "", 0, "avx2")


def test_settings_are_checked() -> None:
    for wrong, said in (
        ({"recipe": "scam-smoke"}, "unknown recipe"),
        ({"variant": "abacus"}, "unknown value of variant"),
        ({"changes": ("training.epoch=3",)}, "unknown key of training"),
        ({"seed": -1}, "seed"),
    ):
        with pytest.raises(InputError, match=said):
            VariantTraining(**{"dataset": "data/x", "recipe": RECIPE} | wrong)


def test_each_variant_has_the_threads_and_code_paths_of_its_name(
    environments: list[dict[str, str]],
) -> None:
    trainings = variant_trainings([RECIPE], [0], ["2 threads", "sse2"], dataset="data/x")
    rows = list(train_all(trainings))
    assert environments == [
        {"OMP_NUM_THREADS": "2"},
        {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    ]
    assert [row["threads"] for row in rows] == [2, 1]


def test_rows_are_recorded_at_once_and_not_repeated(
    record: Path, environments: list[dict[str, str]]
) -> None:
    trainings = variant_trainings([RECIPE], [0, 1], ["1 thread", "avx2"], dataset="data/x")
    rows = train_all(trainings, record=True)
    next(rows), next(rows)
    assert len(rounding.read(record)) == 2
    rows.close()
    again = list(train_all(trainings, record=True))
    assert [row["seed"] for row in again] == [1, 1]
    assert len(environments) == 4
    assert list(train_all(trainings, record=True)) == []


@pytest.mark.parametrize("commit", ["0123456789ab+", None])
def test_a_record_comes_from_a_commit(
    commit: str | None, environments: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "current_commit", lambda: commit)
    trainings = variant_trainings([RECIPE], [0], ["1 thread"], dataset="data/x")
    with pytest.raises(InputError, match="a record needs code that is in a commit"):
        list(train_all(trainings, record=True))
    assert environments == []
    assert len(list(train_all(trainings))) == 1  # without a record it may be any tree


def test_a_training_in_double_precision_has_weights_in_double_precision(
    dataset: Path, tmp_path: Path
) -> None:
    values = {"dataset": str(dataset), "recipe": RECIPE, "changes": SHORT, "root": str(tmp_path)}
    torch.set_num_threads(1)
    rows = [measure(VariantTraining(**values, variant=name)) for name in ("1 thread", "float64")]
    assert [row["dtype"] for row in rows] == ["float32", "float64"]
    assert set(rows[0]) == set(rounding.COLUMNS)
    weights = [load_file(next(tmp_path.glob(f"{n}/*/*/*/last.safetensors"))) for n in
               ("1-thread", "float64")]  # fmt: skip
    for name, single in weights[0].items():
        double = weights[1][name]
        assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
        torch.testing.assert_close(double.float(), single, rtol=0, atol=0.02)  # the same training
        assert not torch.equal(double.float().double(), double)  # not float32 stored as double


def test_the_command_trains_in_a_process_of_its_own(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"bench spread {RECIPE} --dataset {dataset} --root {tmp_path} --seeds 3".split()
    assert main([*words, "--variants", "1 thread", "--set", *SHORT]) == 0
    shown = capsys.readouterr().out
    assert f"{RECIPE} ({' '.join(SHORT)}), seed 3, 1 thread: rSum" in shown
    training = VariantTraining(
        dataset=str(dataset), recipe=RECIPE, changes=SHORT, seed=3, root=str(tmp_path)
    )
    torch.set_num_threads(1)
    assert f"rSum {measure(training)['rsum']:.1f}" in shown  # loads the run that the process made


def test_a_training_that_fails_is_named() -> None:
    training = VariantTraining(dataset="data/none", recipe=RECIPE)
    with pytest.raises(InputError, match=f"ended early.*{RECIPE}, seed 0, 1 thread"):
        list(train_all([training]))
    assert asdict(training)["dataset"] == "data/none"
