"""Batches: killed and resumed, with cells that fail, checked before anything is run."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
import psutil
import pytest
import torch
from filelock import FileLock

from itm_book.batch import engine, planning
from itm_book.batch.planning import Batch
from itm_book.records import grids
from itm_book.records.grid_names import grid_names
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.experiments import runs
from itm_core.json_files import read_json, write_json
from itm_core.parallel import cores
from tests.itm_book.batch.stand_in import STAND_IN, wait_for, write_notebook
from tests.itm_book.batch.two_cells import CHANGES, EPOCHS, make_place, prepare, stand_in, words


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def folders(place: Path) -> list[Path]:
    return [job.folder for job in prepare(place).jobs if job.folder]


def children() -> set[psutil.Process]:
    """The processes that run below this one; not what has ended, nor Python's own helper."""
    return {child for child in psutil.Process().children(recursive=True) if is_at_work(child)}


def is_at_work(process: psutil.Process) -> bool:
    try:
        ended = process.status() == psutil.STATUS_ZOMBIE
        return not ended and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


# --- killed at any moment ----------------------------------------------------------------------


def start(place: Path) -> subprocess.Popen[bytes]:
    program = "from itm_core.cli import entry; entry()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words(place, "--workers", "1")],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def threads() -> Iterator[None]:
    """Set the number of threads back after the test."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_batch_that_is_killed_three_times_ends_as_one_that_was_not(place: Path) -> None:
    jobs = prepare(place).jobs
    store = place / "data" / "runs"
    moments = [random.uniform(0, 0.3), random.uniform(0, 10), random.uniform(0, 2)]
    awaited: list[Callable[[], object]] = [
        lambda: list(store.glob("*/*/*/state.pt")),  # in the middle of a training
        lambda: True,
        lambda: [job for job in jobs if job.state == "finished"],
    ]
    for moment, event in zip(moments, awaited, strict=True):
        process = start(place)
        wait_for(event)
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = [job.folder for job in jobs if job.folder and job.state == "finished"]
    finished = {path: path.stat().st_mtime_ns for folder in done for path in folder.glob("*.*")}
    assert start(place).wait() == 0, f"killed at {moments}"
    assert finished
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    torch.set_num_threads(cores())  # as the cells: sums depend on it in the last digit
    for job in jobs:
        once = runs.train_or_load(
            place / "data" / "micro",
            job.cell.spec.recipe,
            root=place / "other",
            device="cpu",
            overrides=CHANGES,
            progress=False,
        )
        assert job.folder
        assert runs.load(job.folder).metrics == once.metrics, f"killed at {moments}"
        assert len(runs.load(job.folder).curve) == EPOCHS
        executed = nbformat.read(job.folder / "experiment.ipynb", as_version=4)
        assert any("recipe = " in cell.source for cell in executed.cells[2:])
        assert not (job.folder / "state.pt").exists()


def test_the_threads_of_a_cell_do_not_depend_on_how_many_are_pending(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that is resumed alone has the threads with which it began."""
    monkeypatch.setattr(engine, "cores", lambda: 4)
    planned = stand_in(place, workers=2)
    assert len(planned.jobs) == 2
    for pending in (planned.jobs, planned.jobs[:1]):
        engine._write(planned, pending)
        assert read_json(planned.home / engine.CELLS)["threads"] == 2


# --- cells that fail ---------------------------------------------------------------------------


def test_a_failing_cell_stops_no_other_and_is_the_only_one_run_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = stand_in(place, workers=1)
    monkeypatch.setattr(planning, "prepare", lambda *_, **__: planned)
    bad, good = folders(place)
    bad.mkdir(parents=True)
    (bad / "break").touch()
    assert main(words(place)) == 1
    printed = capsys.readouterr()
    assert "failed: t2i, seed 0: ValueError: told to fail" in printed.err
    assert "failed: t2i, seed 0: ValueError: told to fail" in printed.out
    assert f"1 finished, 1 failed; log: {planned.home / 'snakemake.log'}" in printed.out
    lines = (bad / "error.txt").read_text().splitlines()
    assert lines[-1] == "ValueError: told to fail"
    assert any('raise ValueError("told' in line for line in lines)
    assert "ValueError" in (bad / "experiment.failed.ipynb").read_text()
    assert main(words(place, "--dry-run")) == 0
    assert "failed        t2i, seed 0  ValueError: told to fail" in capsys.readouterr().out

    (bad / "break").unlink()
    changed = place / "Snakefile"
    changed.write_text(engine.SNAKEFILE.read_text().replace("shell:", "priority: 3\n    shell:"))
    monkeypatch.setattr(engine, "SNAKEFILE", changed)
    assert main(words(place)) == 0
    assert "2 finished, 0 failed" in capsys.readouterr().out
    assert not [path for path in bad.iterdir() if path.name.startswith(("error", "experiment.f"))]
    threads = cores()
    assert (bad / "executed").read_text() == f"{threads}\n{threads}\n"
    assert (good / "executed").read_text() == f"{threads}\n"
    assert not (planned.root / ".snakemake").exists()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Take interrupts as at a terminal: jobs in the background of a shell ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_all_and_leaves_no_failed_cell(place: Path) -> None:
    planned = stand_in(place, workers=1)
    for folder in folders(place):  # either may be the first
        folder.mkdir(parents=True)
        (folder / "wait").touch()
    others = children()

    def interrupt() -> None:
        wait_for(lambda: any((folder / "executed").exists() for folder in folders(place)))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        engine.run(planned, progress=False)
    assert [job.state for job in planned.jobs] == ["empty", "empty"]
    wait_for(lambda: children() <= others)


def test_one_batch_of_a_grid_at_a_time(place: Path) -> None:
    planned = prepare(place)
    planned.home.mkdir(parents=True)
    with (
        FileLock(planned.home / ".lock"),
        pytest.raises(InputError, match="being run by another process"),
    ):
        engine.run(planned)


# --- before anything is run --------------------------------------------------------------------


def test_a_dry_run_counts_and_runs_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = folders(place)
    before = sorted(place.rglob("*"))
    assert main(words(place, "--workers", "2", "--dry-run")) == 0
    printed = capsys.readouterr().out
    assert sorted(place.rglob("*")) == before
    assert "2 empty" in printed
    assert "to run: 2 of 2, about 3 minutes with 2 at once" in printed
    write_json(first / "config.json", {})
    write_json(first / "metrics.json", {})
    write_json(first / "environment.json", {"seconds_training": 1200})
    write_json(second / "config.json", {})
    (first.parent / "1-other").mkdir()
    write_json(first.parent / "1-other" / "metrics.json", {})
    write_json(first.parent / "1-other" / "environment.json", {"seconds_training": 600})
    assert main(words(place, "--seeds", "0", "1", "--workers", "1", "--dry-run")) == 0
    printed = capsys.readouterr().out
    assert "damaged       " in printed  # shown with the reason; it is run as before
    assert "1 interrupted, 2 empty, 1 damaged" in printed
    assert "to run: 4 of 4, about 22 minutes with 1 at once" in printed  # 0.2 + 15.2 + 3.2 + 3.2
    (first / "experiment.ipynb").touch()
    assert main(words(place, "--rows", "t2i", "--dry-run")) == 0
    assert "to run: 0 of 1\n" in capsys.readouterr().out


def test_the_time_is_that_of_trained_runs_read_once_a_recipe(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = folders(place)
    for folder, seconds in ((first, 1200), (first.with_name("9-imported"), 0)):
        for name in ("metrics.json", "environment.json"):
            write_json(folder / name, {"seconds_training": seconds})
    write_json(first.with_name("9-imported") / "import.json", {})
    read, mean_minutes = [], planning._mean_minutes
    monkeypatch.setattr(
        planning, "_mean_minutes", lambda recipe: read.append(recipe) or mean_minutes(recipe)
    )
    assert {job.minutes for job in prepare(place, rows=["t2i"], seeds=[0, 1]).jobs} == {20}
    assert read == [first.parent]
    prepare(place, seeds=[0, 1])
    assert sorted(read[1:]) == sorted([first.parent, second.parent])


def test_scenes_need_not_be_there_for_a_dry_run(tmp_path: Path) -> None:
    planned = planning.prepare(
        grids.load("scan"), "tiny", data=tmp_path, root=tmp_path / "runs", make_data=False
    )
    assert "14 empty" in planned.lines()[-2]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--size", "huge"], "unknown value of size of grid two"),
        (["--rows", "t2t"], "unknown value of row of grid two"),
        (["--profile", "nowhere"], "no such profile; expected a folder.*kubernetes, local, slurm"),
        (["--workers", "0"], "--workers: expected a whole number"),
        (["--device", "cuda:99"], "no such device"),
        (["--data", "elsewhere"], "elsewhere.micro: the dataset of this size does not exist"),
    ],
)
def test_what_is_not_known_is_refused_before_anything_starts(
    place: Path, more: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    assert main(words(place, *more)) == 2
    assert re.search(message, capfd.readouterr().err)
    assert sorted(place.rglob("*")) == before


def test_an_unknown_grid_or_parameter_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grid", "nothing"]) == 2
    assert f"grid not found; expected one of {grid_names()[0]}, " in capsys.readouterr().err
    monkeypatch.setattr(Batch, "parameters", lambda *_: {"sede": 1})
    assert main(words(place)) == 2
    assert "the notebook has no parameter sede" in capsys.readouterr().err


def test_the_grids_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grid"]) == 0
    printed = capsys.readouterr().out
    head, *lines = printed.partition("\n\n")[0].splitlines()
    assert head.split() == ["grid", "rows", "title"]
    assert [line.split()[0] for line in lines[::2]] == grid_names()
    assert re.search(
        r"rcar +13  Regulators, step by step\n +runs at size tiny 13, smoke 39", printed
    )


def test_a_run_that_is_whole_is_finished_though_its_notebook_fails(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = replace(stand_in(place, workers=1, rows=["t2i"]))
    write_notebook(planned.notebook, f"{STAND_IN}\nraise IndexError('image 35')")
    monkeypatch.setattr(planning, "prepare", lambda *_, **__: planned)
    (folder,) = folders(place)[:1]
    folder.mkdir(parents=True)
    assert main(words(place)) == 0
    printed = capsys.readouterr().out
    assert "finished, but its notebook failed: t2i, seed 0: IndexError: image 35" in printed
    assert f"remove {folder / 'error.txt'} to execute it again" in printed
    assert "1 finished, 0 failed" in printed
    assert main(words(place)) == 0  # nothing is repeated
    assert "finished, but its notebook failed: t2i" in capsys.readouterr().out
    assert len((folder / "executed").read_text().splitlines()) == 1
    (folder / "error.txt").unlink()
    assert [job.state for job in planned.jobs] == ["no notebook"]
