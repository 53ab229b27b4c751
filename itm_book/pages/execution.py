"""Running the notebooks of the book: side by side with papermill, each into a file of its own.

A notebook is executed beside its place and renamed; one that fails leaves ``<name>.failed.ipynb``
with its traceback, and the last good one in place.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from itm_book.batch.experiment import THREADS, environment_set
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.files import space_checked, write_json

log = logging.getLogger(__name__)

TIMED = ("methods", "chan", "benchmarks", "search_at_scale")  # with times of their own to tell
KERNEL = "python3"


class BookError(InputError):
    """A notebook failed, or the pages could not be built: says which, and where to look."""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One notebook of the book and the parameters it is run with."""

    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


def folder_of_executed(root: Path) -> Path:
    """Return where the executed notebooks of a clone lie."""
    return root / "data" / "book" / "notebooks"


def execute(
    root: Path,
    chapters: Sequence[Chapter],
    *,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Run the notebooks and return their records, which ``execution.json`` holds too.

    Args:
        workers: notebooks that run side by side; by default one for each core on a CPU, one on a
            GPU. Those that time something (`TIMED`) come last and have the machine to themselves.

    Raises the first error of a notebook, after those beside it have ended.
    """
    where = describe(pick_device(device))
    workers = workers or (os.cpu_count() or 1 if where["device"] == "cpu" else 1)
    timed = [chapter for chapter in chapters if chapter.notebook in TIMED]
    others = [chapter for chapter in chapters if chapter not in timed]
    found = _side_by_side(root, others, workers, progress)
    found += [_execute_one(root, chapter) for chapter in _told(timed)]
    order = [chapter.notebook for chapter in chapters]
    found.sort(key=lambda record: order.index(record["notebook"]))
    records = [where | record for record in found]
    write_json(root / "data" / "book" / "execution.json", {"notebooks": records})
    return records


def _told(chapters: Sequence[Chapter]) -> Iterator[Chapter]:
    for chapter in chapters:
        log.info("notebook: %s, by itself", chapter.notebook)
        yield chapter


def _side_by_side(
    root: Path, chapters: Sequence[Chapter], workers: int, progress: bool
) -> list[dict[str, Any]]:
    """Execute notebooks in processes of their own, each with its share of the cores."""
    if not chapters:
        return []
    workers = min(workers, len(chapters))
    log.info("running %d notebooks, %d side by side", len(chapters), workers)
    share = str(max(1, (os.cpu_count() or 1) // workers))
    records = []
    with (
        environment_set(dict.fromkeys(THREADS, share)),
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        tqdm(total=len(chapters), desc="notebooks", unit="nb", disable=not progress) as bar,
    ):
        futures = [pool.submit(_execute_one, root, chapter) for chapter in chapters]
        for future in as_completed(futures):
            if future.exception():
                pool.shutdown(wait=True, cancel_futures=True)
            records.append(future.result())
            bar.update()
    return records


def _execute_one(root: Path, chapter: Chapter) -> dict[str, Any]:
    import papermill

    name, sources, folder = chapter.notebook, root / "notebooks", folder_of_executed(root)
    folder.mkdir(parents=True, exist_ok=True)
    partial, failed = folder / f".{name}.partial.ipynb", folder / f"{name}.failed.ipynb"
    failed.unlink(missing_ok=True)
    started, clock = time.time(), time.perf_counter()
    try:
        with space_checked(partial):
            papermill.execute_notebook(
                str(sources / f"{name}.ipynb"),
                str(partial),
                dict(chapter.parameters),
                kernel_name=KERNEL,
                cwd=str(sources),
                progress_bar=False,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # no warning about local ports
            )
            partial.replace(folder / f"{name}.ipynb")
    except papermill.PapermillExecutionError as error:
        partial.replace(failed)
        raise BookError(
            f"cell {error.cell_index + 1} failed with {error.ename}: {error.evalue}",
            file=sources / f"{name}.ipynb",
            remedy=f"the traceback stands in {failed}",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return {
        "notebook": name,
        "parameters": dict(chapter.parameters),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(started)),
        "seconds": round(time.perf_counter() - clock, 1),
    }
