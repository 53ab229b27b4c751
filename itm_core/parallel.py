"""One function of many tasks, computed in several processes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
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
) -> Iterator[Result]:
    """Yield ``function(task)`` of every task in order, computed in newly started processes.

    All tasks are computed, also when one of them fails; its error is raised in its place, after
    the others have ended.

    Args:
        function: a function of a module, or a ``functools.partial`` of one.
        workers: number of processes; by default one for each core.
        threads: number of torch's threads in each process; by default torch's choice.
        title, unit: of the progress bar.
    """
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_set_threads, initargs=(threads,)
    ) as pool:
        waiting = deque(pool.submit(function, task) for task in tasks)
        with tqdm(total=len(waiting), desc=title, unit=unit, disable=not progress) as bar:
            while waiting:
                result = waiting.popleft().result()
                bar.update()
                yield result


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch  # most tasks need no torch

        torch.set_num_threads(threads)
