"""Start several processes of one program on this machine, and end them together.

Each process gets RANK, WORLD_SIZE and LOCAL_RANK in its environment, as with torchrun, which is
what to use for several machines. Unlike torchrun's, these processes find one another by a file
and listen on the loopback interface alone, end when their parent is killed (`parallel`), and the
parent does not import torch.

Page: "Batches", "Several GPUs".
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

from itm_core.errors import BAD_INPUT, INTERRUPTED, InputError
from itm_core.parallel import cores, killed, start_program

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # of each process
STORE = "ITM_STORE"  # the file by which the processes find one another
TORCHRUN = "start several processes with --processes, or with torchrun"
GRACE = 10.0  # seconds to save the state after an interrupt, or to report errors

Process = Popen[bytes]


def started() -> bool:
    """Return whether this process was started as one of several (`number_of` says how many)."""
    return number_of("WORLD_SIZE", 1, default="1") > 1


def number_of(name: str, least: int, most: int = 2**16 - 1, *, default: str | None = None) -> int:
    """Return an environment variable; raises `InputError` unless it is a number in a range."""
    text = os.environ.get(name, default)
    if text is None or not re.fullmatch("[0-9]{1,5}", text) or not least <= int(text) <= most:
        raise InputError(
            f"wrong environment variable {name}",
            expected=f"a whole number from {least} to {most}",
            found="none" if text is None else repr(text[:40]),
            remedy=TORCHRUN,
        )
    return int(text)


def launch(arguments: Sequence[str], processes: int) -> int:
    """Return the exit code of a Python program, run by several processes at once.

    The output is that of the first process; the errors of another are printed when it failed
    first. Interrupts are forwarded to all processes, and terminations as well. When one fails, all
    are terminated; when this process is killed, so are the others. ``arguments`` are those of the
    interpreter, such as ``["-m", "itm_core", "train"]``.

    Raises `InputError` for fewer than one process, and for one that was killed. Raises
    KeyboardInterrupt after an interrupt of which the first process has printed nothing.
    """
    if processes < 1:
        raise InputError("too few processes", expected="1 or more", found=processes)
    with tempfile.TemporaryDirectory(prefix="itm-processes-") as folder:
        errors = [Path(folder, f"{rank}.txt") for rank in range(processes)]
        group = [_start(arguments, rank, processes, errors[rank]) for rank in range(processes)]

        interrupted = threading.Event()

        def forward(_number: int, _frame: object) -> None:
            """Terminate the processes, which save their state and end."""
            if not interrupted.is_set():
                interrupted.set()
                _kill_later(group)
            for process in group:
                process.terminate()

        with signals_handled(forward):
            failed = _wait(group)
        if interrupted.is_set() and group[0].returncode != INTERRUPTED:
            raise KeyboardInterrupt
        if any(group[rank].returncode == -signal.SIGKILL for rank in failed):
            raise killed("a process of the training was killed", "fewer --processes than these")
        for rank in failed:  # the first process printed its own errors, and bad input for all
            if rank and group[rank].returncode not in (BAD_INPUT, INTERRUPTED):
                print(errors[rank].read_text(errors="replace"), end="", file=sys.stderr)
    code = group[failed[0]].returncode if failed else 0
    return 128 - code if code < 0 else code  # ended by a signal: the code that a shell returns


def _kill_later(group: Sequence[Process]) -> None:
    """Kill the processes that still run after `GRACE` seconds."""

    def kill() -> None:
        """Kill all processes; those that have ended are left alone."""
        for process in group:
            process.kill()

    timer = threading.Timer(GRACE, kill)
    timer.daemon = True
    timer.start()


def _start(arguments: Sequence[str], rank: int, size: int, errors: Path) -> Process:
    threads = str(max(1, cores() // size))
    variables = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        STORE: str(errors.with_name("store")),
    }
    with errors.open("wb") as file:
        return start_program(
            arguments,
            dict.fromkeys(THREADS, threads) | os.environ | variables,
            stdout=None if rank == 0 else DEVNULL,
            stderr=None if rank == 0 else file,
        )


def _wait(group: Sequence[Process]) -> list[int]:
    """Return the ranks that failed first, when all have ended; none when all succeeded."""
    while not any(process.poll() for process in group):
        if all(process.returncode == 0 for process in group):
            return []
        time.sleep(0.1)
    failed = [rank for rank, process in enumerate(group) if process.returncode]
    end = time.monotonic() + GRACE
    while time.monotonic() < end and any(process.poll() is None for process in group):
        time.sleep(0.1)
    for process in group:
        _end(process)
    return failed


def _end(process: Process) -> None:
    """Terminate a process; kill it where it does not react, as when it waits for an ended one."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def signals_handled(handle: Callable[[int, object], None]) -> Iterator[None]:
    """Let a function handle interrupts and terminations, in the main thread, which alone may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
