"""The book: run its notebooks with papermill, lay them beside the prose, build the pages.

Three steps, each of which leaves the last good result in place when it fails:

1. *execute*: every notebook of the plan, into ``data/book/notebooks/``, and a record of when,
   where and how long in ``data/book/execution.json``;
2. *stage*: ``_config.yml``, ``book/`` and ``notebooks/`` copied to ``data/book/stage/``, the
   executed notebooks laid over their sources, the generated pages written;
3. *build*: Jupyter Book makes ``data/book/_build/html/``; a warning is a failure.

Nothing that git tracks is written to.
"""

from __future__ import annotations

import ast
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout

from itm_book.pages import run_pages, staging
from itm_book.pages.execution import BookError, Chapter, execute, folder_of_executed
from itm_book.records import grids
from itm_book.records.grids import Cell
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.files import space_checked, swap

log = logging.getLogger(__name__)

PRESETS = {"full": "full", "small": "smoke", "tiny": "tiny"}  # Scenes preset: size of the grids
PROFILES = {"full": "scenes", "small": "smoke", "tiny": "smoke"}
RECORDED = "smoke"  # the size whose recorded results every build shows
SEEDS = [0]  # of the rows that a build trains itself; the record has more
CHAPTERS = (
    "rcar",
    "chan",
    "contrastive",
    "plugin_matrix",
    "hosts",
    "photographs",
    "why_is_my_number_lower",
    "benchmarks",
    "attention_atlas",
    "regulators_in_motion",
    "similarity_distributions",
    "does_attention_explain",
    "figures",
)
GRIDS = ("scan", "methods", "rcar", "chan", "contrastive", "plugins", "lower")
SHORT = ("training.epochs=3", "training.lr_decay_epochs=3", "loss.warmup_epochs=1")
INDEX = Path("_build", "html", "index.html")


def plan(preset: str = "small", *, device: str = "auto") -> tuple[Chapter, ...]:
    """Return the notebooks of the book in the order in which they are run.

    ``preset`` is that of the Scenes dataset; every preset has its size of the grids.
    Paths are given as the notebooks see them, from ``notebooks/``.

    >>> [chapter.notebook for chapter in plan()][3:6]
    ['scan', 'methods', 'own_regulator']
    """
    if preset not in PRESETS:
        raise InputError("unknown preset", expected=f"one of {', '.join(PRESETS)}", found=preset)
    profile = f"-{PROFILES[preset]}"
    common = {"dataset": f"../{_scenes_folder(preset).as_posix()}", "device": device}
    one = {**common, "recipe": f"scan-t2i-mean{profile}"}
    own = {**common, "recipe": profile, "seeds": SEEDS, "changes": list(SHORT)}
    searched = {"SCAN t2i": f"scan-t2i-mean{profile}", "RCAR t2i": f"rcar-t2i{profile}"}
    table = {"size": PRESETS[preset], "record": RECORDED, "seeds": SEEDS, "device": device}
    return (
        Chapter(notebook="scenes", parameters=one),
        Chapter(notebook="first_match", parameters=one),
        Chapter(notebook="experiment", parameters={**one, "seed": 0}),
        Chapter(notebook="scan", parameters=table),
        Chapter(notebook="methods", parameters=table),
        Chapter(notebook="own_regulator", parameters=own),
        Chapter(notebook="your_pictures", parameters=one),
        *(Chapter(notebook=name, parameters=table) for name in CHAPTERS),
        Chapter(notebook="retrieval_gallery", parameters={**common, "recipes": searched}),
        Chapter(notebook="search_at_scale", parameters=one),
    )


def fresh_cells(preset: str) -> list[Cell]:
    """Return the runs that a build trains for its chapters."""
    known = [grids.load(name) for name in GRIDS]
    return [
        cell for grid in known for cell in grid.cells(PRESETS[preset], rows=grid.fresh, seeds=SEEDS)
    ]


def make_book(
    preset: str = "small",
    *,
    device: str = "auto",
    root: Path | str | None = None,
    progress: bool = True,
) -> Path:
    """Return the first page of the book, after making its data, its notebooks and its pages.

    Args:
        preset: of the Scenes dataset. ``small`` is minutes on a laptop, ``full`` hours, ``tiny``
            shows that everything works.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, handed to every notebook.
        root: the clone; by default the one that this package was installed from.
        progress: show bars.

    Raises `InputError` for an unknown preset, device or parameter before anything is run, and
    `BookError` when a notebook or the build fails; the previous book is then still there.
    """
    root = find_root(root)
    chapters = plan(preset, device=device)
    pick_device(device)
    check_parameters(root, chapters)
    with _alone(root / "data" / "book"):
        _make_data(root, preset, progress)
        _make_runs(root, preset, device, progress)
        execute(root, chapters, device=device, progress=progress)
        return build(root)


def find_root(root: Path | str | None = None) -> Path:
    """Return the folder of the clone; raises `InputError` when there is no book in it."""
    folder = Path(root) if root is not None else Path(__file__).resolve().parents[2]
    missing = [
        name for name in ("_config.yml", "book", "notebooks") if not (folder / name).exists()
    ]
    if missing:
        raise InputError(
            "the book is built from a clone of the project",
            file=folder,
            expected="_config.yml, book/ and notebooks/",
            found=f"no {', no '.join(missing)}",
            remedy="clone the repository and run `make book` there",
        )
    return folder


def check_parameters(root: Path, chapters: Sequence[Chapter]) -> None:
    """Raise `InputError` when a notebook is missing or does not know one of its parameters."""
    for chapter in chapters:
        source = root / "notebooks" / f"{chapter.notebook}.ipynb"
        if not source.exists():
            raise InputError("notebook not found", file=source)
        known = parameters_of(source)
        unknown = sorted(set(chapter.parameters) - set(known))
        if unknown:
            raise InputError(
                f"the notebook has no parameter {', '.join(unknown)}",
                file=source,
                expected=f"some of {', '.join(known) or 'none (no cell tagged parameters)'}",
            )


def parameters_of(notebook: Path) -> list[str]:
    """Return the names that the cell tagged ``parameters`` assigns.

    Papermill's own reading stops at some comments, and passing an unknown name only warns there.
    """
    cells = nbformat.read(notebook, as_version=4).cells
    tagged = (c.source for c in cells if "parameters" in c.metadata.get("tags", []))
    names = [
        target.id
        for statement in ast.parse(next(tagged, "")).body
        for target in ast.walk(statement)
        if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
    ]
    return list(dict.fromkeys(names))


def _make_data(root: Path, preset: str, progress: bool) -> None:
    from itm_book.scenes.generate import make_scenes

    make_scenes(root / _scenes_folder(preset), preset=preset, progress=progress)


def _make_runs(root: Path, preset: str, device: str, progress: bool) -> None:
    """Train what the chapters compare, side by side and with a bar; the notebooks load it."""
    from itm_core.experiments.runs import train_many

    log.info("training the runs that the chapters compare")
    specs = list(dict.fromkeys(cell.spec for cell in fresh_cells(preset)))
    runs = root / "data" / "runs"
    train_many(root / _scenes_folder(preset), specs, device=device, root=runs, progress=progress)


def _scenes_folder(preset: str) -> Path:
    return Path("data", "scenes" if preset == "full" else f"scenes-{preset}")


# --- stage and build ---------------------------------------------------------------------------


def stage(root: Path) -> Path:
    """Return the folder that Jupyter Book reads: prose, executed notebooks, generated pages."""
    folder = root / "data" / "book" / "stage"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    hidden = shutil.ignore_patterns(".*", "__pycache__")
    shutil.copy2(root / "_config.yml", folder)
    for name in ("book", "notebooks"):
        shutil.copytree(root / name, folder / name, ignore=hidden)
    for notebook in sorted(folder_of_executed(root).glob("*.ipynb")):
        if not notebook.name.endswith(".failed.ipynb"):
            staging.lay_over(notebook, folder / "notebooks" / notebook.name)
    staging.write_generated(
        folder / "book" / "generated",
        _records(root),
        cover_from=folder / "notebooks" / "rcar.ipynb",
    )
    run_pages.write_runs_page(folder / "book" / "generated" / "runs.md", root / "data" / "runs")
    return folder


def build(root: Path) -> Path:
    """Return the first page of the book, built from what has been executed.

    The pages are made beside the last book and take its place when they are whole.
    Raises `BookError` with the warnings when there are any.
    """
    home = root / "data" / "book"
    partial, log_file = home / ".partial", home / "build.log"
    log.info("building the pages")
    with space_checked(home):
        folder = stage(root)
        shutil.rmtree(partial, ignore_errors=True)
        _run_jupyter_book(folder, partial, log_file)
        swap(partial / "_build", home / "_build")
    shutil.rmtree(partial)
    return home / INDEX


def _run_jupyter_book(folder: Path, output: Path, log_file: Path) -> None:
    program = "from jupyter_book.cli.main import main; main()"
    options = ["--toc", str(folder / "book" / "_toc.yml"), "--path-output", str(output)]
    command = [sys.executable, "-c", program, "build", str(folder), *options, "-W", "--keep-going"]
    with log_file.open("w", encoding="utf-8") as told:
        code = subprocess.run(
            command, stdout=told, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        text = log_file.read_text(encoding="utf-8", errors="replace")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
        said = [line.strip() for line in lines if "WARNING" in line or "ERROR" in line]
        raise BookError(
            "the pages were built with warnings:\n  " + "\n  ".join(said or lines[-5:]),
            remedy=f"all that was said stands in {log_file}",
        )


def _records(root: Path) -> list[dict[str, Any]]:
    path = root / "data" / "book" / "execution.json"
    return json.loads(path.read_text(encoding="utf-8"))["notebooks"] if path.exists() else []


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the book's lock; raises `InputError` when another process makes the book."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(
            "another process is making the book", file=folder, remedy="wait until it is done"
        ) from None
    try:
        yield
    finally:
        lock.release()
