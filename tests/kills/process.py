"""A command in a process of its own, killed at a chosen operation on files or after some time.

The processes are forked from a server that has imported the package and computed nothing: that
takes milliseconds where starting Python and torch takes seconds.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 300.0  # seconds; the machine may be busy
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MODULES = (  # what the commands import
    "itm_core.cli",
    "itm_core.experiments.runs",
    "itm_core.training.distributed",
    "itm_book.batch.engine",
    "itm_book.batch.planning",
    "itm_book.batch.score_job",
    "itm_book.checkpoints.imported_runs",
    "itm_book.checkpoints.importing",
    "itm_book.datasets.convert",
    "itm_book.datasets.status",
    "itm_book.galleries.dataset_gallery",
    "itm_book.galleries.indexing",
    "itm_book.pages.building",
    "itm_book.photographs.region_features",
    "itm_book.scenes.generate",
    "papermill",
)
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__, *MODULES])


@dataclass
class Operations:
    """An audit hook that counts the changes of files below a folder, and may kill at one."""

    folder: str
    fatal: int | None
    count: int = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        writes = event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING)
        if writes and Path.cwd().joinpath(_path(arguments)).is_relative_to(self.folder):
            self.count += 1
            if self.count == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def _path(arguments: tuple[Any, ...]) -> str:
    return os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else "/"


def _child(
    arguments: list[str], folder: Path, prepare: Callable[[], None], fatal: int | None
) -> None:
    os.setsid()
    os.chdir(folder)
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    from itm_core import environment
    from itm_core.cli import main

    environment.current_commit = lambda: "c0082a58b567"  # whatever is done to the checkout
    prepare()
    operations = Operations(str(folder / "out"), fatal)
    sys.addaudithook(operations)
    code = main(arguments)
    Path("operations.txt").write_text(str(operations.count))
    sys.stdout.flush()
    sys.exit(code)


def run(
    arguments: list[str],
    folder: Path,
    prepare: Callable[[], None],
    *,
    fatal: int | None = None,
    seconds: float | None = None,
) -> int:
    """Return the exit code of a command, whose output is ``folder / "out"``.

    It is killed at the operation ``fatal`` or after ``seconds``. Everything that it has started
    must end then.
    """
    process = CONTEXT.Process(target=_child, args=(arguments, folder, prepare, fatal))
    process.start()
    family: list[psutil.Process] = []
    end = time.monotonic() + (PATIENCE if seconds is None else seconds)
    while process.is_alive() and time.monotonic() < end:
        family = _children(process.pid) or family
        process.join(min(0.2, max(0.0, end - time.monotonic())))
    assert seconds is not None or not process.is_alive(), "the command does not end"
    if process.is_alive():
        family = _children(process.pid) or family
        process.kill()
    process.join()
    assert not left(family)
    assert process.exitcode is not None
    return process.exitcode


def _children(process: int | None) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def left(family: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that have not ended in some seconds; kernels look once a second."""
    end = time.monotonic() + PATIENCE / 10
    while (alive := [p for p in family if _is_running(p)]) and time.monotonic() < end:
        time.sleep(0.05)
    return alive


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def enter(name: str) -> None:
    """Run a case as the command line does, in the working folder."""
    from itm_core.cli import entry
    from tests.kills.cases import CASES

    case = next(case for case in CASES if case.name == name)
    case.prepare()
    sys.argv = ["itm", *case.arguments, *sys.argv[1:]]
    entry()
