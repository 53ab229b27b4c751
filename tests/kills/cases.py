"""The commands that write, each with the smallest input."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from safetensors import safe_open

from tests.itm_book.batch.stand_in import write_notebook as write_stand_in
from tests.itm_book.datasets.test_convert import IDS, write_karpathy, write_tsv
from tests.loopback import Loopback
from tests.micro import SMALL, write_dataset
from tests.painted import painted_dataset, painted_folder, painted_run
from tests.photos import write_captions, write_photographs
from tests.tiny_book import PROJECT, write_clone

TIMES = ("seconds_training", "seconds_since_start")
CPU = ["--device", "cpu"]
CELL = {"recipe": "scan-t2i-mean", "changes": [*SMALL]}
GRID = {
    "title": "one row",
    "sizes": {"tiny": {"dataset": "micro", "profile": "smoke", "seeds": [0], "minutes": 1}},
    "rows": {"t2i": CELL},
}
FINISH = """
from pathlib import Path
folder = next(Path(root).glob(f"*/{recipe}/{seed}-*"))
(folder / "metrics.json").write_text("{}")
"""
REGISTRY = """
[toy]
title = "Toy"
what = "toys"
terms = "none"
by_hand = "1. Ask."
then = "itm check data/toy"
[[toy.files]]
name = "caps.txt"
what = "captions"
sources = ["{caps}"]
[[toy.files]]
name = "texts.zip"
what = "texts"
md5 = "{md5}"
sources = ["{archive}"]
unpack = {{into = "texts", members = ["*.txt"], most = 1000}}
"""


def nothing() -> None:
    """Prepare nothing."""


def few_scenes() -> None:
    """Let the tiny Scenes have a few images, without a pinned hash, made in one process."""
    from itm_book.scenes import generate

    generate.PRESETS["tiny"] = (3, 2, 2)
    generate.FINGERPRINTS.clear()
    generate.run_parallel = lambda function, tasks, **_: map(function, tasks)


def small_grid() -> None:
    """Let the cells of a grid execute a notebook that trains nothing."""
    from dataclasses import replace

    from itm_book.batch import planning

    prepare = planning.prepare
    notebook = Path("../inputs/n/x.ipynb").resolve()
    planning.prepare = lambda *a, **b: replace(prepare(*a, **b), notebook=notebook)


def small_book() -> None:
    """Let the book be that of the working folder, without runs; Jupyter Book is left out."""
    from itm_book import shipped
    from itm_book.pages import building

    shipped.CLONE = Path("out").resolve()
    few_scenes()
    building.fresh_cells = lambda _preset: []
    building._run_jupyter_book = _pages


def _pages(folder: Path, output: Path, log: Path) -> None:
    shutil.copytree(folder / "notebooks", output / "_build" / "html")
    (output / "_build" / "html" / "book").mkdir()
    (output / "_build" / "html" / "book" / "intro.html").write_text("<article></article>")
    log.touch()


@dataclass(frozen=True)
class Case:
    """A command that writes to ``out`` in its working folder; inputs are in ``../inputs``.

    Attributes:
        make: makes the inputs.
        prepare: changes what the command would take too long for.
        seed: copied to ``out`` first.
        finished: its exit code where everything is there already.
        quick: number of moments of a test that is not slow.
    """

    name: str
    arguments: list[str]
    make: Callable[[Path, Loopback], object]
    prepare: Callable[[], None] = nothing
    seed: str | None = None
    finished: int = 0
    quick: int = 2


def _data(inputs: Path, _: Loopback) -> None:
    write_dataset(inputs / "micro")


def _run(inputs: Path, _: Loopback) -> None:
    data = painted_dataset(inputs)
    painted_run(data, inputs / "runs").folder.rename(inputs / "run")
    painted_folder(inputs / "photos")


def _features(inputs: Path, _: Loopback) -> None:
    inputs.mkdir()
    write_tsv(inputs / "all.tsv", IDS)
    write_karpathy(inputs / "dataset.json")


def _photographs(inputs: Path, _: Loopback) -> None:
    write_photographs(inputs / "photos", 6)
    write_captions(inputs / "captions.txt", [*range(6)])


def _registry(inputs: Path, server: Loopback) -> None:
    import hashlib

    from tests.itm_book.datasets.test_status import ARCHIVE

    values = {
        "caps": server.put("/caps", b"captions\n" * 100),
        "archive": server.put("/zip", ARCHIVE),
        "md5": hashlib.md5(ARCHIVE).hexdigest(),
    }
    inputs.mkdir(exist_ok=True)
    (inputs / "registry.toml").write_text(REGISTRY.format(**values))


def make_grid(inputs: Path, _: Loopback | None, code: str = FINISH) -> None:
    write_dataset(inputs / "data" / "micro")
    write_stand_in(inputs / "n" / "x.ipynb", code)
    (inputs / "one.yml").write_text(yaml.safe_dump(GRID, sort_keys=False))


def make_book(inputs: Path, _: Loopback | None, code: str = "1 + 1") -> None:
    folder = inputs / "clone"
    folder.mkdir(parents=True)
    write_clone(folder, {"scan": ["# SCAN", code]})
    shutil.copytree(PROJECT / "data" / "published", folder / "data" / "published")
    (folder / "book" / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/scan\n"
    )


DATA, RUN = "../inputs/micro", "../inputs/run"
MADE = ["data", "make", "../inputs/photos", "--out", "out/made", "--backbone", "colour"]
CASES = [
    Case(
        "train",
        ["train", "--dataset", DATA, "--recipe", "scan-t2i-mean", "--root", "out", *CPU,
         *(word for change in SMALL for word in ("--set", change))],
        _data,
    ),
    Case("scenes", ["scenes", "--preset", "tiny", "--folder", "out/made"], _data, few_scenes),
    Case(
        "index-photographs",
        ["index", "../inputs/photos", "out/made", "--matcher", RUN, "--workers", "1", *CPU],
        _run,
    ),
    Case("index-dataset", ["index", "../inputs/painted", "out/made", "--matcher", RUN], _run),
    Case("score", ["score", RUN, "../inputs/painted", "--out", "out/made", *CPU], _run),
    Case(
        "convert",
        ["data", "convert", "../inputs/all.tsv", "out/made", "--captions",
         "../inputs/dataset.json"],
        _features,
        finished=2,
    ),
    Case(
        "data-make",
        [*MADE, "--captions", "test=../inputs/captions.txt", "--workers", "1", *CPU],
        _photographs,
    ),
    Case(
        "data-get",
        ["data", "get", "toy", "--data", "out", "--registry", "../inputs/registry.toml"],
        _registry,
    ),
    Case(
        "grid",
        ["grid", "../inputs/one.yml", "--size", "tiny", "--data", "out", "--root",
         "out/runs", "--workers", "1", *CPU],
        make_grid,
        small_grid,
        seed="data",
        quick=1,
    ),
    Case("book", ["book", "--preset", "tiny", *CPU], make_book, small_book, seed="clone", quick=1),
]  # fmt: skip


def content(folder: Path) -> dict[str, object]:
    """Return the files of a command by path, without times and without what locks leave."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {str(path.relative_to(folder)): path for path in files}
    return {
        name: _without_times(path)
        for name, path in named.items()
        if not re.search(r"lock$|\.checked$|(^|/)batches/|build\.log$|execution\.md$", name)
    }


def _without_times(path: Path) -> object:
    if path.name in ("environment.json", "execution.json"):
        return re.sub(r'"(seconds\w*|started)": [^\n]*', "", path.read_text())
    if path.name == "curve.csv":
        return [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells  # parameters have absolute paths
        return [c.source for c in cells if "injected-parameters" not in c.metadata.get("tags", ())]
    if path.suffix == ".safetensors":
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
    return path.read_bytes()
