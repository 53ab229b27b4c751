"""The list of chapters: the table of contents, and nothing that it does not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from itm_book.pages import building
from itm_book.pages.building import BookError
from itm_book.pages.chapters import PRESETS, Chapter, chapters_of, notebooks_of
from itm_book.pages.clone import find_root
from itm_book.records import grids
from itm_book.records.grid_names import grid_names
from itm_core.errors import InputError
from tests.tiny_book import write_clone, write_notebook

TOC = """\
format: jb-book
root: book/intro
parts:
  - caption: One
    chapters:
      - file: notebooks/first
        sections:
          - file: notebooks/second
      - file: book/task
"""


def write_small_clone(folder: Path) -> Path:
    """Return a clone with two chapters and a table of contents of their own."""
    write_clone(folder, {"first": ["# First"], "second": ["# Second", "word + '!'"]})
    (folder / "book" / "_toc.yml").write_text(TOC)
    return folder


def change(clone: Path, name: str, **metadata: Any) -> None:
    """Replace what the notebook says under ``book`` in its metadata."""
    path = clone / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("book")
    notebook.metadata |= metadata
    nbformat.write(notebook, path)


# --- the chapters of this project --------------------------------------------------------------


def test_every_notebook_of_the_project_is_a_chapter_with_parameters() -> None:
    names = [chapter.notebook for chapter in chapters_of(find_root())]
    assert sorted(names) == sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))


def test_every_chapter_gets_the_dataset_of_the_preset() -> None:
    root = find_root()
    for preset, folder in (("full", "../data/scenes"), ("tiny", "../data/scenes-tiny")):
        parameters = [chapter.parameters for chapter in chapters_of(root, preset)]
        assert {given["dataset"] for given in parameters if "dataset" in given} == {folder}
        (size,) = {given["size"] for given in parameters if "size" in given}
        assert {f"../data/{cell.dataset}" for cell in building.fresh_cells(PRESETS[preset])} == {
            folder
        }
        assert size == PRESETS[preset].size


def test_a_build_trains_the_fresh_rows_of_every_grid() -> None:
    rows = {name for name in grid_names() if grids.load(name).fresh}
    trained = {cell.row for cell in building.fresh_cells(PRESETS["small"])}
    assert all(set(grids.load(name).fresh) <= trained for name in rows)
    assert len(rows) > 5


def test_small_presets_train_the_smoke_recipe() -> None:
    chapters = chapters_of(find_root(), "small", device="cpu")
    assert {c.parameters["recipe"] for c in chapters if "recipe" in c.parameters} == {
        "scan-t2i-mean-smoke",
        "-smoke",
    }
    devices = {chapter.parameters.get("device") for chapter in chapters}
    assert devices == {"cpu", None}  # what is found is only read


# --- adding one --------------------------------------------------------------------------------


def test_a_new_chapter_is_a_notebook_and_its_line(tmp_path: Path) -> None:
    clone = write_small_clone(tmp_path)
    write_notebook(clone / "notebooks" / "third.ipynb", "# Third", "f'{word} of mine'")
    with pytest.raises(InputError, match=r"third\.ipynb: the table of contents does not list.*Rem"):
        building.make_book("tiny", root=clone)
    (clone / "book" / "_toc.yml").write_text(TOC + "      - file: notebooks/third\n")
    chapters = chapters_of(clone, "tiny")
    assert [chapter.notebook for chapter in chapters] == ["first", "second", "third"]
    building.execute(clone, chapters[2:], device="cpu", progress=False)
    executed = clone / "data" / "book" / "notebooks"
    with pytest.raises(BookError, match=r"first\.ipynb: a notebook of the book has not been exec"):
        building.stage(clone)
    for name in ("first", "second"):
        (executed / f"{name}.ipynb").write_bytes((executed / "third.ipynb").read_bytes())
    page = building.stage(clone) / "notebooks" / "third.ipynb"
    assert "ball of mine" in page.read_text()
    assert "book" not in nbformat.read(page, as_version=4).metadata


def test_a_chapter_that_is_not_there_is_refused(tmp_path: Path) -> None:
    clone = write_small_clone(tmp_path)
    (clone / "notebooks" / "second.ipynb").unlink()
    with pytest.raises(InputError, match=r"_toc\.yml: a notebook that is listed does not.*Remedy"):
        notebooks_of(clone)
    (clone / "book" / "_toc.yml").write_text(TOC + "      - file: notebooks/first\n")
    with pytest.raises(InputError, match=r"_toc\.yml: a notebook is listed twice.*first"):
        notebooks_of(clone)
    (clone / "book" / "_toc.yml").write_text("parts: [")
    with pytest.raises(InputError, match=r"_toc\.yml: not readable as YAML"):
        notebooks_of(clone)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "does not say what the book runs it with.*Property Inspector"),
        ({"book": {"alone": True}}, "does not say what the book runs it with"),
        ({"book": {"parameters": {}, "time": 1}}, "wrong metadata under 'book'.*found time"),
        ({"book": {"parameters": {}, "alone": "yes"}}, "wrong metadata under 'book'.*found alone"),
        ({"book": {"parameters": {"word": "{words}"}}}, "unknown name in braces.*found {words}"),
        ({"book": {"parameters": {"sede": 1}}}, "the notebook has no parameter sede.*word"),
    ],
)
def test_a_chapter_without_proper_parameters_is_refused(
    metadata: dict[str, Any], message: str, tmp_path: Path
) -> None:
    clone = write_small_clone(tmp_path)
    change(clone, "second", **metadata)
    with pytest.raises(InputError, match=rf"second\.ipynb: .*{message}"):
        building.make_book("tiny", root=clone)
    assert not (clone / "data").exists()


def test_names_in_braces_stand_for_the_preset(tmp_path: Path) -> None:
    clone = write_small_clone(tmp_path)
    word = {"all": "{seeds}", "some": ["scan{profile}", 3], "none": None}
    change(clone, "second", book={"parameters": {"word": word}, "alone": True})
    path = clone / "notebooks" / "second.ipynb"
    path.write_text(path.read_text().replace("word = 'none'", "word = {}"))
    chapter = chapters_of(clone, "small")[1]
    assert chapter == Chapter(
        notebook="second",
        parameters={"word": {"all": [0], "some": ["scan-smoke", 3], "none": None}},
        alone=True,
    )
