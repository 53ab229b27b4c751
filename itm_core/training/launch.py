"""Starting several processes of one program on this machine, and ending them together.

They find one another by a file and speak by the loopback interface, so nothing listens to the
network; several machines are torchrun's business. Each is told in its environment who it is, as
torchrun tells (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``). Nothing here imports torch.

Page: "Batches", "Several GPUs".
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from itm_book.batch.notebook_runner import THREADS
from itm_core.errors import InputError

STORE = "ITM_STORE"  # the file by which the processes find one another
BAD_INPUT, INTERRUPTED = 2, 130  # exit codes of the command line
GRACE = 10.0  # seconds for the others to say what is wrong, when one has failed

Process = subprocess.Popen[bytes]


def started() -> bool:
    """Return whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(arguments: Sequence[str], processes: int) -> int:
    """Return the exit code of a Python program, run by several processes at once.

    The output is that of the first process; another one's errors are shown when it was the one
    that failed. An interrupt or termination is passed on to all; when one fails, all end; when
    this process is killed, the others take it for a termination.

    Args:
        arguments: of the interpreter, such as ``["-m", "itm_core", "train"]``.

    Raises `InputError` for fewer than one process.
    """
    if processes < 1:
        raise InputError("too few processes", expected="1 or more", found=processes)
    with tempfile.TemporaryDirectory(prefix="itm-processes-") as folder:
        errors = [Path(folder, f"{rank}.txt") for rank in range(processes)]
        group = [_start(arguments, rank, processes, errors[rank]) for rank in range(processes)]
        with _passed_on(group):
            culprits = _wait(group)
        for rank in culprits:  # the first process has spoken for itself, and of bad input for all
            if rank and group[rank].returncode not in (BAD_INPUT, INTERRUPTED):
                print(errors[rank].read_text(errors="replace"), end="", file=sys.stderr)
    code = group[culprits[0]].returncode if culprits else 0
    return 128 - code if code < 0 else code  # as a shell says that a signal ended it


def _start(arguments: Sequence[str], rank: int, size: int, errors: Path) -> Process:
    share = str(max(1, (os.cpu_count() or 1) // size))
    told = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        STORE: str(errors.with_name("store")),
    }
    with errors.open("wb") as said:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=dict.fromkeys(THREADS, share) | os.environ | told,
            stdin=subprocess.PIPE,  # see `end_with_parent`
            stdout=None if rank == 0 else subprocess.DEVNULL,
            stderr=None if rank == 0 else said,
            start_new_session=True,  # an interrupt at the terminal comes once, from `_passed_on`
        )


def _wait(group: Sequence[Process]) -> list[int]:
    """Return which processes failed first, when all have ended; none when all went well."""
    while not any(process.poll() for process in group):
        if all(process.returncode == 0 for process in group):
            return []
        time.sleep(0.1)
    culprits = [rank for rank, process in enumerate(group) if process.returncode]
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(process.poll() is None for process in group):
        time.sleep(0.1)
    for process in group:
        _end(process)
    return culprits


def _end(process: Process) -> None:
    """End a process: gently, then by force, as it may wait for one that is gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _passed_on(group: Sequence[Process]) -> Iterator[None]:
    """Pass interrupts and terminations on to the processes, which save their state and end."""

    def tell(_number: int, _frame: object) -> None:
        for process in group:
            process.terminate()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Terminate this process, gently, when the one that `launch` runs in is gone."""

    def watch() -> None:
        os.read(0, 1)  # nothing is ever written: this returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    if STORE in os.environ:
        threading.Thread(target=watch, daemon=True).start()
