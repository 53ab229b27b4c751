"""Batches: jobs run side by side by Snakemake, such as the cells of a grid.

Snakemake orders the jobs, limits how many run at once, and submits them to clusters. Which jobs
are finished is read from the files that they have written, never from Snakemake's own records: a
cell is finished when its run is and its notebook exists, a shard of a score matrix when its file
exists. So a batch can be killed at any moment and started again with the same command: finished
jobs are left as they are, unfinished runs resume from their checkpoint.

Snakemake's input and log are in the plan's ``home``. `planning` says which cells are to be run and
`experiment` runs one; `score_job` says which shards, and `shard` scores one.

Page: "Batches".
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from tqdm.auto import tqdm

from itm_book import shipped
from itm_book.records import grids
from itm_core.experiments.run_folder import ERROR, RunState
from itm_core.files import locked
from itm_core.json_files import read_json, write_json
from itm_core.parallel import GRACE, WATCHED, cores, start_program

if TYPE_CHECKING:
    import psutil

SNAKEFILE = grids.FOLDER / "Snakefile"
CELLS = "cells.json"  # what the Snakefile reads
ENDED = (RunState.FINISHED, RunState.FAILED)
REMOTE_SECONDS = 60.0  # for Snakemake to cancel the jobs of a cluster
OPTIONS = (
    "--keep-going",  # a job that fails stops no other
    *("--retries", "0"),
    # The run store says what is finished, and the name of a run's folder has a hash of its
    # settings: nothing is run again because the Snakefile or the package has changed, and
    # Snakemake's own records of a batch that was killed are ignored.
    *("--rerun-triggers", "mtime"),
    *("--rerun-incomplete", "--drop-metadata"),
    # Snakemake's own locks outlive a kill. Ours (one for each batch, cell and run) are held by
    # processes, so the system releases them; no two batches run the same cell at once.
    "--nolock",
    *("--workflow-profile", "none"),
    "--nocolor",
)


class Job(Protocol):
    """One job of a batch."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def state(self) -> str:
        """`RunState.FINISHED`, `RunState.FAILED` or another state, read from its files."""

    @property
    def error(self) -> str:
        """The error in one line; empty when it has not failed."""

    @property
    def trace(self) -> Path:
        """The file or folder with the traceback when it has failed."""

    def forget(self) -> None:
        """Remove what a failed job has left."""


class Plan(Protocol):
    """Jobs, and how they are run."""

    @property
    def jobs(self) -> Sequence[Job]:
        """All of them."""

    @property
    def home(self) -> Path:
        """The folder of Snakemake's input, state and log."""

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
        """How many GPUs of this machine the jobs share, one for each job."""

    @property
    def unit(self) -> str:
        """What one of the jobs is called: ``cell`` or ``shard``."""

    def content(self, pending: Sequence[Any]) -> dict[str, Any]:
        """Return what the jobs read: ``module``, which runs one, and ``cells`` by key."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a batch.

    Attributes:
        finished: number of finished jobs.
        failed: the jobs that failed, each with its error.
        not_shown: finished jobs whose notebook failed.
    """

    finished: int
    failed: tuple[tuple[Job, str], ...]
    not_shown: tuple[Job, ...]
    log: Path

    def lines(self) -> list[str]:
        """Return the report: two lines for each job with an error, and one with the counts."""
        failures = [
            line
            for job, error in self.failed
            for line in (f"failed: {job.name}: {error}", f"  in {job.trace}")
        ]
        for job in self.not_shown:
            failures.append(f"finished, but its notebook failed: {job.name}: {job.error}")
            failures.append(f"  remove {job.trace / ERROR} to execute it again")
        counts = f"{self.finished} finished, {len(self.failed)} failed"
        return [*failures, f"{counts}; log: {self.log}"]


def run(batch: Plan, *, progress: bool = True) -> Report:
    """Return the report after running all jobs that are not finished.

    Raises `InputError` when another process runs this plan, and KeyboardInterrupt after an
    interrupt, when everything that was started has been stopped.
    """
    problem = "this batch is being run by another process"
    with locked(batch.home / ".lock", problem, "wait until it has ended, or stop it"):
        pending = [job for job in batch.jobs if job.state != RunState.FINISHED]
        finished = {job.name for job in batch.jobs} - {job.name for job in pending}
        log = batch.home / "snakemake.log"
        if pending:
            finished |= _run(batch, pending, log, progress)
    failed = tuple(
        (job, job.error or f"it ended without an error message (out of memory?); see {log}")
        for job in pending
        if job.name not in finished
    )
    not_shown = tuple(job for job in batch.jobs if job.name in finished and job.error)
    return Report(finished=len(finished), failed=failed, not_shown=not_shown, log=log)


def _run(batch: Plan, pending: Sequence[Job], log: Path, progress: bool) -> set[str]:
    """Return the names of the jobs that finished."""
    _write(batch, pending)
    with log.open("w", encoding="utf-8") as log_file:
        process = start_program(
            _arguments(batch), cwd=batch.home, stdout=log_file, stderr=subprocess.STDOUT
        )
        waiting = {job.name: job for job in pending}
        try:
            _watch(process, waiting, batch.unit, progress)
        except KeyboardInterrupt:
            _stop(process, batch.remote)
            for job in waiting.values():  # a job that was stopped has not failed
                if job.state != RunState.FINISHED:
                    job.forget()
            raise
    return {job.name for job in pending if job.state == RunState.FINISHED}


def _write(batch: Plan, pending: Sequence[Job]) -> None:
    """Write what the Snakefile reads, and remove what an earlier batch has left."""
    for job in pending:
        job.forget()
    content = {
        "stamp": time.time_ns(),
        "code": str(shipped.CLONE) if shipped.in_clone() else "",
        # whatever is pending: a run that is resumed with other threads has other float32 sums
        "threads": 1 if batch.remote else max(1, cores() // batch.workers),
        "gpus": batch.gpus,
        **batch.content(pending),
    }
    shutil.rmtree(batch.home / "done", ignore_errors=True)
    write_json(batch.home / CELLS, content)
    shutil.copy2(SNAKEFILE, batch.home)  # Kubernetes pods look for it below the working folder


def _arguments(batch: Plan) -> list[str]:
    """Return the arguments of the interpreter."""
    threads = read_json(batch.home / CELLS)["threads"]
    local = ["--cores", str(batch.workers * threads)]
    if batch.gpus:
        local += ["--resources", f"gpu={batch.gpus}"]
    return [
        *("-c", f"{WATCHED}from snakemake.cli import main; main()", "--snakefile", "Snakefile"),
        *("--profile", str(batch.profile), *OPTIONS),
        *(["--jobs", str(batch.workers)] if batch.remote else local),
        # absolute: pods start in a folder of their own; quoted: a shell and YAML read it on its way
        *("--config", f"batch={quote(str(batch.home.resolve() / CELLS))}"),
    ]


def _watch(
    process: subprocess.Popen[bytes], waiting: dict[str, Job], unit: str, progress: bool
) -> None:
    """Show progress until Snakemake ends; jobs that ended are removed from ``waiting``."""
    with tqdm(total=len(waiting), desc=f"{unit}s", unit=unit, disable=not progress) as bar:
        while True:
            ended = process.poll() is not None  # before the states are read: they are final then
            for job in [j for j in waiting.values() if j.state in ENDED]:
                if (error := job.error) and job.state != RunState.FINISHED:
                    bar.write(f"failed: {job.name}: {error}", file=sys.stderr)
                del waiting[job.name]
                bar.update()
            if ended:
                return
            time.sleep(0.5)


def _stop(process: subprocess.Popen[bytes], remote: bool) -> None:
    """End Snakemake and the processes that it has started; runs keep their checkpoints."""
    import psutil

    if remote:  # it cancels its jobs
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(REMOTE_SECONDS)
    with suppress(psutil.NoSuchProcess):
        snakemake = psutil.Process(process.pid)
        snakemake.suspend()  # so that it starts no more jobs
        family = snakemake.children(recursive=True)
        process.kill()
        process.wait()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.terminate()
        end = time.monotonic() + GRACE
        while time.monotonic() < end and any(map(_is_running, family)):
            time.sleep(0.05)
        for child in filter(_is_running, family):
            with suppress(psutil.NoSuchProcess):
                child.kill()


def _is_running(process: psutil.Process) -> bool:
    """Return whether a process runs; one that has ended may wait for its parent to notice."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
