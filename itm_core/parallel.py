"""One function of many tasks, computed in several processes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process
from typing import TypeVar

from tqdm.auto import tqdm

Task = TypeVar("Task")
Result = TypeVar("Result")


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
    the others have ended. When the caller closes the generator or is interrupted, tasks that have
    not started are not computed. The processes end when this one is killed.

    Args:
        function: a function of a module, or a ``functools.partial`` of one.
        workers: number of processes; by default one for each core.
        threads: number of torch's threads in each process; by default torch's choice.
        title, unit: of the progress bar.
    """
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_prepare, initargs=(threads,)
    ) as pool:
        waiting = deque(pool.submit(function, task) for task in tasks)
        try:
            with tqdm(total=len(waiting), desc=title, unit=unit, disable=not progress) as bar:
                while waiting:
                    result = waiting.popleft().result()
                    bar.update()
                    yield result
        except (GeneratorExit, KeyboardInterrupt):
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _prepare(threads: int | None) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads is not None:
        import torch  # most tasks need no torch

        torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """End this process when its parent does, also when that was killed.

    A worker of an executor holds both ends of the queue of tasks, so it would wait forever.
    """
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
