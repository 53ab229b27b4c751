"""The book: its notebooks executed with papermill, beside the prose, made into pages.

Four steps, each of which leaves the last good result in place when it fails:

1. *execute*: every notebook of the table of contents, into ``data/book/notebooks/``, with a record
   of when, where and how long in ``data/book/execution.json``;
2. *stage*: ``_config.yml``, ``book/`` and ``notebooks/`` copied to ``data/book/stage/``, the
   executed notebooks in the place of their sources, the generated pages written;
3. *build*: Jupyter Book makes the pages; a warning is a failure;
4. *finish*: they are made light and get descriptions (`finishing.finish`), and replace the last
   book in ``data/book/_build/html/``.

Nothing that git tracks is written to.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from itm_book.folders import swap
from itm_book.pages import citations, run_pages, staging
from itm_book.pages.chapters import (
    SEEDS,
    TOC,
    Preset,
    chapters_of,
    find_preset,
    notebooks_of,
)
from itm_book.pages.clone import executed_of, find_root, home_of
from itm_book.pages.execution import RECORD, execute
from itm_book.pages.site.finishing import finish
from itm_book.pages.site.weight import weigh
from itm_book.pages.site_config import staged_config
from itm_book.records import grids
from itm_book.records.grid_names import grid_names
from itm_book.records.grids import Cell
from itm_book.records.yaml_files import read_yaml
from itm_book.shipped import shipped
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.files import locked, space_checked
from itm_core.parallel import start_program
from itm_core.settings import at_least

log = logging.getLogger(__name__)

INDEX = Path("_build", "html", "index.html")
PROGRAM = "itm_book.pages.book_program"


class BookError(InputError):
    """The pages could not be built: says why, and where the log is."""


def make_book(
    preset: str = "small",
    *,
    device: str = "auto",
    workers: int | None = None,
    root: Path | str | None = None,
    progress: bool = True,
) -> Path:
    """Return the first page of the book, after making its data, its notebooks and its pages.

    Args:
        preset: of the Scenes dataset. ``small`` takes minutes on a laptop, ``full`` hours;
            ``tiny`` shows that everything works.
        device: ``auto``, ``cpu`` or another one of torch, passed to every notebook.
        workers: number of runs, and of notebooks, at once; by default one for each core on a CPU.
        root: the clone; by default the one that this package is used from.
        progress: show bars.

    Raises `InputError` for an unknown preset, device or parameter and for a chapter that is not
    declared (`chapters_of`), all before anything is run. Raises `NotebookError` when a notebook
    fails and `BookError` when the build fails; the previous book is kept.
    """
    root = find_root(root)
    at_least("workers", 1 if workers is None else workers, 1)
    chapters = chapters_of(root, preset, device=device)
    pick_device(device)
    problem, remedy = "another process is making the book", "wait until it has ended"
    log.info("%s", _announcement(find_preset(preset), len(chapters)))
    with locked(home_of(root) / ".lock", problem, remedy), _interrupts_explained():
        _make_data(root, find_preset(preset), progress)
        _make_runs(root, find_preset(preset), device, workers, progress)
        execute(root, chapters, device=device, workers=workers, progress=progress)
        return build(root)


def _announcement(preset: Preset, notebooks: int) -> str:
    """Return what a build will do, and how long it takes."""
    runs = len(dict.fromkeys(cell.spec for cell in fresh_cells(preset)))
    return (
        f"This makes Scenes ({preset.name}), trains {runs} runs, executes {notebooks} notebooks "
        f"and builds the pages, all in data/: {preset.takes}. Data and runs that are there are "
        "used again. Ctrl-C stops it at any time."
    )


@contextmanager
def _interrupts_explained() -> Iterator[None]:
    """Let an interrupt say what is kept."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped. Kept: the dataset, if it was complete, the finished runs, the state of an "
            "unfinished one, and the last book. The same command uses them, and executes the "
            "notebooks again"
        ) from None


def fresh_cells(preset: Preset) -> list[Cell]:
    """Return the runs that a build trains for its chapters: the ``fresh`` rows of all grids.

    Grids count that have the preset's size, on the preset's dataset.
    """
    size = preset.size
    book_grids = [grids.load(name) for name in grid_names()]
    return [
        cell
        for grid in book_grids
        if size in grid.sizes and grid.size(size).dataset == preset.folder
        for cell in grid.cells(size, rows=grid.fresh, seeds=SEEDS)
    ]


def _make_data(root: Path, preset: Preset, progress: bool) -> None:
    from itm_book.scenes.generate import make_scenes

    make_scenes(root / "data" / preset.folder, preset=preset.name, progress=progress)


def _make_runs(
    root: Path, preset: Preset, device: str, workers: int | None, progress: bool
) -> None:
    """Train the runs that the chapters compare, side by side; the notebooks load them."""
    from itm_core.experiments.runs import train_many

    log.info("training the runs that the chapters compare")
    specs = list(dict.fromkeys(cell.spec for cell in fresh_cells(preset)))
    data = root / "data"
    train_many(
        data / preset.folder,
        specs,
        workers=workers,
        device=device,
        root=data / "runs",
        progress=progress,
    )


# --- stage and build ---------------------------------------------------------------------------


def stage(root: Path) -> Path:
    """Return the folder that Jupyter Book reads: prose, executed notebooks, generated pages.

    Raises `BookError` when a notebook of the table of contents has not been executed.
    """
    folder = home_of(root) / "stage"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hidden = shutil.ignore_patterns(".*", "__pycache__")
    (folder / "_config.yml").write_text(staged_config(root / "_config.yml"), encoding="utf-8")
    for name in ("book", "notebooks"):
        shutil.copytree(root / name, folder / name, ignore=hidden)
    shutil.copytree(shipped("published"), folder / "data" / "published")  # pages link to them
    for name in notebooks_of(root):
        executed = executed_of(root) / f"{name}.ipynb"
        if not executed.exists():
            raise BookError(
                "a notebook of the book has not been executed",
                file=executed,
                remedy="itm book executes all of them",
            )
        staging.lay_over(executed, folder / "notebooks" / executed.name)
    staging.write_generated(
        folder / "book" / "generated",
        _records(root),
        notebooks=folder / "notebooks",
    )
    page = folder / "book" / "generated" / "citation.md"
    page.write_text(citations.citation_page(root), encoding="utf-8")
    run_pages.write_runs_page(folder / "book" / "generated" / "runs.md", root / "data" / "runs")
    return folder


def build(root: Path) -> Path:
    """Return the first page of the book, built from the executed notebooks.

    The new pages replace the last book when all are complete. Raises `BookError` with the warnings
    when there are any.
    """
    home = home_of(root)
    partial, log_file = home / ".partial", home / "build.log"
    log.info("building the pages")
    with space_checked(home):
        folder = stage(root)
        shutil.rmtree(partial, ignore_errors=True)
        _run_jupyter_book(folder, partial, log_file)
        html = partial / INDEX.parent
        finish(html, str(read_yaml(root / "_config.yml")["title"]))
        weight = weigh(html)
        swap(partial / "_build", home / "_build")
    shutil.rmtree(partial)
    log.info(weight.line())
    for line in weight.excess():
        log.warning("too heavy: %s", line)
    return home / INDEX


def _run_jupyter_book(folder: Path, output: Path, log_file: Path) -> None:
    options = ["--toc", str(folder / TOC), "--path-output", str(output)]
    arguments = ["-m", PROGRAM, "build", str(folder), *options, "-W", "--keep-going"]
    with log_file.open("w", encoding="utf-8") as output_file:
        process = start_program(arguments, stdout=output_file, stderr=subprocess.STDOUT)
        try:
            process.wait()
        finally:
            process.kill()
    if process.returncode:
        text = log_file.read_text(encoding="utf-8", errors="replace")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        warnings = [line.strip() for line in lines if "WARNING" in line or "ERROR" in line]
        raise BookError(
            "the pages were built with warnings:\n  " + "\n  ".join(warnings or lines[-5:]),
            remedy=f"see the log of the build in {log_file}",
        )


def _records(root: Path) -> list[dict[str, Any]]:
    path = home_of(root) / RECORD
    return json.loads(path.read_text(encoding="utf-8"))["notebooks"] if path.exists() else []
