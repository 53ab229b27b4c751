"""Processes that end with this one: a function of many tasks in several, or a Python program."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import connection, current_process, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from tqdm.auto import tqdm

from itm_core.errors import INTERRUPTED, InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

FAILED = 1  # how Python ends after an error
GRACE = 5.0  # seconds in which a process that was terminated may save its state
PARENT = "ITM_PARENT"  # says which standard input is the pipe of `start_program`
CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")  # microseconds that may be used, of how many
WATCHED = "from itm_core.parallel import end_with_parent; end_with_parent(); "


def cores() -> int:
    """Return how many cores this process may use.

    A batch system, a container or ``taskset`` gives a process some of the machine's cores: by
    name, or as a share of the time of all of them.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    named = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_SHARE.read_text(encoding="ascii").split()
        return min(named, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return named


def run_parallel(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    workers: int | None = None,
    threads: int | None = None,
    title: str = "tasks",
    unit: str = "task",
    progress: bool = True,
) -> Generator[Result]:
    """Yield ``function(task)`` of every task in order, computed in newly started processes.

    All tasks are computed, also when one of them fails; its error is raised in its place, after
    the others have ended. When the caller closes the generator or is interrupted, the processes
    are terminated. They end when this one is killed, and leave Ctrl-C to it.

    Args:
        function: a function of a module, or a ``functools.partial`` of one.
        workers: number of processes; by default one for each core.
        threads: number of torch's threads in each process; by default torch's choice.
        title, unit: of the progress bar.

    Raises `InputError` when a process is killed, as by a system without memory, and when a script
    without ``if __name__ == "__main__":`` calls this.
    """
    require_guard()
    with _pool(workers or cores(), threads) as (pool, processes):
        with _interrupts_blocked():  # in the processes too, until they ignore them
            waiting = deque(pool.submit(_run, function, task) for task in tasks)
        processes.extend((pool._processes or {}).values())
        with tqdm(total=len(waiting), desc=title, unit=unit, disable=not progress) as bar:
            while waiting:
                result = waiting.popleft().result()
                bar.update()
                yield result


def require_guard() -> None:
    """Raise `InputError` while a worker imports a script that starts workers when it is imported.

    Each worker imports the script that it was started from, and would run its lines once more.
    """
    if getattr(current_process(), "_inheriting", False):  # as multiprocessing itself asks
        raise InputError(
            "this script starts processes, and each of them imports the script",
            expected='its calls in a function, called below `if __name__ == "__main__":`',
            remedy="move them there",
        )


@contextmanager
def _pool(
    workers: int, threads: int | None
) -> Iterator[tuple[ProcessPoolExecutor, list[BaseProcess]]]:
    """Yield a pool, and a list for its processes, which say how they have ended."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_prepare, initargs=(threads,)
    )
    processes: list[BaseProcess] = []
    try:
        try:
            yield pool, processes
        except Exception:
            pool.shutdown()  # after the other tasks
            raise
        pool.shutdown()
    except BrokenProcessPool:
        if any(process.exitcode == FAILED for process in processes):
            raise InputError(
                "a worker process could not be started", found="the error above this one"
            ) from None
        raise killed(
            "a worker process was killed",
            f"the same with fewer --workers than {workers}" if workers > 1 else "smaller batches",
        ) from None
    except (GeneratorExit, KeyboardInterrupt):
        _terminate(pool)
        raise


def killed(problem: str, remedy: str) -> InputError:
    """Return the error to raise for a process that was killed, which names the likely cause."""
    return InputError(
        problem,
        found="most likely too little memory",
        remedy=f"end other programs, or run {remedy}; what was finished is kept",
    )


def _terminate(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool; a training saves its state in the seconds that it is given."""
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    end = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
        process.kill()


def _run(function: Callable[[Task], Result], task: Task) -> Result:
    """Compute one task; a worker whose training was stopped takes no other one."""
    try:
        return function(task)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)


def _prepare(threads: int | None) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if threads is not None:
        import torch  # most tasks need no torch

        torch.set_num_threads(threads)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Delay interrupts to the end of the block; processes started in it inherit the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_program(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """Start ``python ARGUMENTS`` with a pipe as its standard input, to which nothing is written.

    A program that calls `end_with_parent` ends with this process, and so do the programs that it
    starts with the same standard input. It has a session of its own: Ctrl-C at the terminal reaches
    this process alone. ``WATCHED`` is the start of such a program for ``-c``.
    """
    pipe = _pipe(os.getpid())[0]
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **(environment or {}), PARENT: _identity(pipe) or ""},
        stdin=pipe,
        start_new_session=True,
        **options,
    )


@cache
def _pipe(_process: int) -> tuple[int, int]:
    """Return both ends of the pipe of this process; the system closes it when the process ends."""
    return os.pipe()


def _identity(file: int) -> str | None:
    """Return what identifies an open file; None for one that is closed."""
    try:
        status = os.fstat(file)
    except OSError:
        return None
    return f"{status.st_dev}-{status.st_ino}"


def end_with_parent() -> None:
    """End this process when the one that started it ends, also when that was killed.

    That is the parent of a worker of `run_parallel`, or the process that called `start_program`.
    Other processes are left alone.
    """
    parent = parent_process()
    if parent is not None:
        handle = parent.sentinel
    elif PARENT in os.environ and os.environ[PARENT] == _identity(0):
        handle = 0
    else:
        return
    threading.Thread(target=partial(_end_after, handle), daemon=True).start()


def _end_after(handle: int) -> None:
    connection.wait([handle])  # until the other end is closed
    os._exit(1)
