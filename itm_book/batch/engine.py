"""Batches: jobs run side by side by Snakemake, such as the cells of a grid.

Snakemake keeps the order, the number of workers, and speaks to clusters; what is done and what is
to be done is read from what the jobs have written, never from Snakemake's own records. A cell is
done when its run is whole and its notebook there, a shard of a score matrix when its file is. So a
batch can be killed at any moment and started again with the same command: finished jobs are left
alone, half-done runs resume from their checkpoint.

What Snakemake needs and tells lies in the plan's ``home``. `planning` says which cells are to be
run and `experiment` runs one; `score_job` says which shards, and `shard` scores one.

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
from typing import Any, Protocol

from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from itm_book.records import grids
from itm_core.errors import InputError
from itm_core.files import read_json, write_json

SNAKEFILE = grids.FOLDER / "Snakefile"
OPTIONS = (
    "--keep-going",  # a job that fails stops no other
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


class Job(Protocol):
    """One job of a batch."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def state(self) -> str:
        """``done``, ``failed`` or something else, as its files say now."""

    @property
    def error(self) -> str:
        """What it failed with, in one line; empty when it did not."""

    @property
    def trace(self) -> Path:
        """Where to look when it has failed."""

    def forget(self) -> None:
        """Take away what a failed job has left."""


class Plan(Protocol):
    """Jobs, and how they are to be run."""

    @property
    def jobs(self) -> Sequence[Job]:
        """All of them."""

    @property
    def home(self) -> Path:
        """The folder of Snakemake's state and log."""

    @property
    def profile(self) -> Path:
        """The folder with Snakemake's ``config.yaml``."""

    @property
    def remote(self) -> bool:
        """Whether the jobs run on a cluster."""

    @property
    def workers(self) -> int:
        """How many jobs at once."""

    @property
    def gpus(self) -> int:
        """How many GPUs of this machine the jobs share, one to each."""

    @property
    def unit(self) -> str:
        """What one of the jobs is, in a word."""

    def content(self, left: Sequence[Any]) -> dict[str, Any]:
        """Return what the jobs need to know: ``module``, which runs one, and ``cells`` by key."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of a batch: how many jobs are done, which failed with what, and the log."""

    done: int
    failed: tuple[tuple[Job, str], ...]
    log: Path

    def lines(self) -> list[str]:
        """Return the report, one line for each failed job and one for the rest."""
        told = [f"failed: {job.name}: {error}" for job, error in self.failed]
        traces = [f"  in {job.trace}" for job, _ in self.failed]
        both = [line for pair in zip(told, traces, strict=True) for line in pair]
        return [*both, f"{self.done} done, {len(self.failed)} failed; log: {self.log}"]


def run(batch: Plan, *, progress: bool = True) -> Report:
    """Return what came of running all jobs that are not done.

    Raises `InputError` when another process runs this plan, and KeyboardInterrupt
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


def _run(batch: Plan, left: Sequence[Job], log: Path, progress: bool) -> set[str]:
    """Return the names of the jobs that Snakemake has finished."""
    _write(batch, left)
    with log.open("w", encoding="utf-8") as told, _terminations():
        process = subprocess.Popen(
            _command(batch), cwd=batch.home, stdout=told, stderr=subprocess.STDOUT
        )
        waiting = {job.name: job for job in left}
        try:
            _watch(process, waiting, batch.unit, progress)
        except KeyboardInterrupt:
            _stop(process, batch.remote)
            for job in waiting.values():  # what was stopped has not failed
                if job.state != "done":
                    job.forget()
            raise KeyboardInterrupt("stopped; the same command goes on from there") from None
    return {job.name for job in left if job.name not in waiting and not job.error}


def _write(batch: Plan, left: Sequence[Job]) -> None:
    """Write what the Snakefile reads, and take away what an earlier batch has left behind."""
    for job in left:
        job.forget()
    cores = os.cpu_count() or 1
    content = {
        "stamp": time.time_ns(),
        "threads": 1 if batch.remote else max(1, cores // batch.workers),
        "gpus": batch.gpus,
        **batch.content(left),
    }
    shutil.rmtree(batch.home / "done", ignore_errors=True)
    write_json(batch.home / "cells.json", content)
    shutil.copy2(SNAKEFILE, batch.home)  # below the folder of its state, as pods ask for


def _command(batch: Plan) -> list[str]:
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


def _watch(
    process: subprocess.Popen[bytes], waiting: dict[str, Job], unit: str, progress: bool
) -> None:
    """Show what happens until Snakemake ends; takes the jobs that ended from ``waiting``."""
    with tqdm(total=len(waiting), desc=f"{unit}s", unit=unit, disable=not progress) as bar:
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
    import psutil

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
def _alone(batch: Plan) -> Iterator[None]:
    batch.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(batch.home / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            "this batch is being run by another process",
            file=batch.home,
            remedy="wait until it is done, or stop it",
        ) from None
    try:
        yield
    finally:
        lock.release()
