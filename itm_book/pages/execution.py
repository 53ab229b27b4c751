"""Executing the notebooks of the book: side by side, each in a process of its own.

Page: "Versions, devices, durations".
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from itm_book.batch.notebook_runner import run_notebook
from itm_book.pages.chapters import Chapter
from itm_book.pages.clone import executed_of, home_of, sources_of
from itm_core.environment import describe, pick_device
from itm_core.json_files import write_json
from itm_core.parallel import cores, run_parallel

log = logging.getLogger(__name__)

RECORD = "execution.json"


def execute(
    root: Path,
    chapters: Sequence[Chapter],
    *,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Return the records of the executed notebooks, which are also written to ``execution.json``.

    Args:
        workers: number of notebooks that run side by side; by default one for each core on a CPU,
            one on a GPU. Those that measure time (`Chapter.alone`) run last, one at a time.

    Raises `NotebookError` for the first notebook that failed, after the others have ended. The
    failed notebook is kept as ``<name>.failed.ipynb``, and its last good one stays.
    """
    machine = describe(pick_device(device))
    workers = workers or (cores() if machine["device"] == "cpu" else 1)
    together = [chapter for chapter in chapters if not chapter.alone]
    workers = max(1, min(workers, len(together)))
    log.info("running the notebooks, %d side by side", workers)
    records: list[dict[str, Any]] = []
    for record in run_parallel(
        partial(_execute_one, root, threads=max(1, cores() // workers)),
        together,
        workers=workers,
        title="notebooks",
        unit="notebook",
        progress=progress,
    ):
        records.append(record)
        _report(record, len(records), len(chapters), progress)
    for chapter in chapters:
        if chapter.alone:
            records.append(_execute_one(root, chapter, threads=cores()))
            _report(records[-1], len(records), len(chapters), progress)
    order = [chapter.notebook for chapter in chapters]
    records.sort(key=lambda record: order.index(record["notebook"]))
    records = [machine | record for record in records]
    write_json(home_of(root) / RECORD, {"notebooks": records})
    return records


def _report(record: dict[str, Any], number: int, count: int, progress: bool) -> None:
    """Print that a notebook has been executed, above the bar where there is one."""
    if progress:
        line = f"notebook {number} of {count}: {record['notebook']}, {record['seconds']:.0f} s"
        tqdm.write(line, file=sys.stderr)


def _execute_one(root: Path, chapter: Chapter, *, threads: int) -> dict[str, Any]:
    """Return the record of one notebook after executing it."""
    name = f"{chapter.notebook}.ipynb"
    started, clock = time.time(), time.perf_counter()
    run_notebook(
        sources_of(root) / name, executed_of(root) / name, chapter.parameters, threads=threads
    )
    return {
        "notebook": chapter.notebook,
        "parameters": dict(chapter.parameters),
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(started)),
        "seconds": round(time.perf_counter() - clock, 1),
        "threads": threads,
    }
