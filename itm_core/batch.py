"""Batches: the cells of a grid, run side by side by Snakemake, each as an executed notebook.

Snakemake keeps the order, the number of workers, and speaks to clusters; what is done and what is
to be done is read from the run store, never from Snakemake's own records. A cell is done when its
run is whole and its notebook there. So a batch can be killed at any moment and started again with
the same command: finished cells are left alone, half-done runs resume from their checkpoint.

What Snakemake needs and tells lies in ``data/batches/<grid>-<size>/``. `batch_plan` says what is
to be run, `experiment` runs one cell.

Page: "Batches".
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from itm_core import experiment, grids
from itm_core.batch_plan import Batch, Job
from itm_core.errors import InputError
from itm_core.files import read_json, write_json

SNAKEFILE = grids.FOLDER / "Snakefile"
OPTIONS = (
    "--keep-going",  # a cell that fails stops no other
    *("--retries", "0"),
    # What is done says the run store, and what decides about a run is in the name of its folder:
    # nothing is run again because the Snakefile or the package has changed, and what Snakemake
    # remembers of a batch that was killed does not count.
    *("--rerun-triggers", "mtime"),
    *("--rerun-incomplete", "--drop-metadata"),
    # Snakemake's own locks outlive a kill. Ours (`_alone`, and one for each cell and each run) are
    # held by processes, so the system lets go of them; no two batches run the same cell at once.
    "--nolock",
    *("--workflow-profile", "none"),
    "--nocolor",
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of a batch: how many cells are done, which failed with what, and the log."""

    done: int
    failed: tuple[tuple[Job, str], ...]
    log: Path

    def lines(self) -> list[str]:
        """Return the report, one line for each failed cell and one for the rest."""
        told = [f"failed: {job.name}: {error}" for job, error in self.failed]
        traces = [f"  in {job.folder}" for job, _ in self.failed]
        both = [line for pair in zip(told, traces, strict=True) for line in pair]
        return [*both, f"{self.done} done, {len(self.failed)} failed; log: {self.log}"]


def run(batch: Batch, *, progress: bool = True) -> Report:
    """Return what came of running all cells that are not done.

    Raises `InputError` when another process runs this grid at this size, and KeyboardInterrupt
    after an interrupt or termination, when everything that was started has been stopped.
    """
    with _alone(batch):
        left = [job for job in batch.jobs if job.state != "done"]
        done = {job.name for job in batch.jobs} - {job.name for job in left}
        log = batch.home / "snakemake.log"
        if left:
            done |= _run(batch, left, log, progress)
    failed = tuple(
        (job, job.error or f"ended without a word; see {log}")
        for job in left
        if job.name not in done
    )
    return Report(done=len(done), failed=failed, log=log)


def _run(batch: Batch, left: Sequence[Job], log: Path, progress: bool) -> set[str]:
    """Return the names of the jobs that Snakemake has finished."""
    _write(batch, left)
    with log.open("w", encoding="utf-8") as told, _terminations():
        process = subprocess.Popen(
            _command(batch), cwd=batch.home, stdout=told, stderr=subprocess.STDOUT
        )
        waiting = {job.name: job for job in left}
        try:
            _watch(process, waiting, progress)
        except KeyboardInterrupt:
            _stop(process, batch.remote)
            for job in waiting.values():  # what was stopped has not failed
                (_folder(job) / experiment.ERROR).unlink(missing_ok=True)
            raise KeyboardInterrupt("stopped; the same command goes on from there") from None
    return {job.name for job in left if job.name not in waiting and not job.error}


def _write(batch: Batch, left: Sequence[Job]) -> None:
    """Write what the Snakefile reads, and take away what an earlier batch has left behind."""
    for job in left:
        # a notebook without its run is stale: someone has removed the run to have it anew
        for name in (experiment.NOTEBOOK, experiment.ERROR):
            (_folder(job) / name).unlink(missing_ok=True)
    cores = os.cpu_count() or 1
    cells = {
        _folder(job).relative_to(batch.root).as_posix(): batch.parameters(job.cell) for job in left
    }
    content = {
        "stamp": time.time_ns(),
        "notebook": str(batch.notebook),
        "root": str(batch.root),
        "threads": 1 if batch.remote else max(1, cores // batch.workers),
        "gpus": batch.gpus,
        "cells": cells,
    }
    shutil.rmtree(batch.home / "done", ignore_errors=True)
    write_json(batch.home / "cells.json", content)
    shutil.copy2(SNAKEFILE, batch.home)  # below the folder of its state, as pods ask for


def _command(batch: Batch) -> list[str]:
    threads = read_json(batch.home / "cells.json")["threads"]
    local = ["--cores", str(batch.workers * threads)]
    if batch.gpus:
        local += ["--resources", f"gpu={batch.gpus}"]
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", "Snakefile"),
        *("--profile", str(batch.profile), *OPTIONS),
        *(["--jobs", str(batch.workers)] if batch.remote else local),
        *("--config", f"batch={batch.home / 'cells.json'}"),
    ]


def _watch(process: subprocess.Popen[bytes], waiting: dict[str, Job], progress: bool) -> None:
    """Show what happens until Snakemake ends; takes the cells that ended from ``waiting``."""
    with tqdm(total=len(waiting), desc="cells", unit="cell", disable=not progress) as bar:
        while True:
            ended = process.poll() is not None  # asked first: nothing is done after it
            for job in [j for j in waiting.values() if j.state in ("done", "failed")]:
                if error := job.error:
                    bar.write(f"failed: {job.name}: {error}", file=sys.stderr)
                del waiting[job.name]
                bar.update()
            if ended:
                return
            time.sleep(0.5)


def _stop(process: subprocess.Popen[bytes], remote: bool) -> None:
    """End Snakemake and what it has started; kernels keep the state of their runs.

    An interrupt at the terminal reaches Snakemake, too; one that was sent to this process alone
    does not. So it is first left to end by itself.
    """
    family = [] if remote else psutil.Process(process.pid).children(recursive=True)
    for child in family:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    if not remote:
        process.terminate()  # which tells Snakemake to start no more
    for number, seconds in ((signal.SIGINT, 15), (signal.SIGINT, 60), (signal.SIGKILL, 60)):
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
    _, alive = psutil.wait_procs(family, 15)
    for child in alive:
        child.kill()


@contextmanager
def _terminations() -> Iterator[None]:
    """Take a termination for an interrupt; the caller must be in the main thread."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _alone(batch: Batch) -> Iterator[None]:
    batch.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(batch.home / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            "this grid is being run by another process",
            file=batch.home,
            remedy="wait until it is done, or stop it",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _folder(job: Job) -> Path:
    assert job.folder is not None, "prepared without data"
    return job.folder
