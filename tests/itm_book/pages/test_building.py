from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from itm_book.batch.notebook_runner import NotebookError
from itm_book.pages import building, staging
from itm_book.pages.building import BookError
from itm_book.pages.chapters import Chapter
from itm_book.pages.clone import find_root
from itm_core.errors import InputError
from tests.tiny_book import CHAPTERS, CODE, write_clone, write_notebook

DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
WORD = Chapter(notebook="scan", parameters={"word": "ring"})


def digest(folder: Path) -> str:
    """Of the prose, without the page that the small book has its own of."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / "code.md")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def test_an_unknown_preset_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    clone = write_clone(tmp_path)
    with pytest.raises(InputError, match=r"unknown preset; expected one of full.*found huge"):
        building.make_book("huge", root=clone)
    assert not (clone / "data").exists()


def test_a_folder_without_the_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="built from a clone.*found no _config.yml"):
        building.make_book(root=tmp_path)


def test_two_builds_do_not_mix(tmp_path: Path) -> None:
    clone = write_clone(tmp_path)
    (clone / "data" / "book").mkdir(parents=True)
    with (
        FileLock(clone / "data" / "book" / ".lock"),
        pytest.raises(InputError, match="another process is making the book"),
    ):
        building.make_book("tiny", root=clone)


# --- execution ---------------------------------------------------------------------------------


def test_a_failing_cell_is_named_and_its_traceback_kept(tmp_path: Path) -> None:
    write_notebook(tmp_path / "notebooks" / "scan.ipynb", "# SCAN", "1 / 0", "print('after')")
    executed = tmp_path / "data" / "book" / "notebooks"
    executed.mkdir(parents=True)
    (executed / "scan.ipynb").write_text("the last good one")
    with pytest.raises(NotebookError) as raised:
        building.execute(tmp_path, [WORD], device="cpu", progress=False)
    kept = executed / "scan.failed.ipynb"
    assert "cell 4 failed with ZeroDivisionError: division by zero" in str(raised.value)
    assert str(kept) in str(raised.value)
    assert "ZeroDivisionError" in kept.read_text()
    assert (executed / "scan.ipynb").read_text() == "the last good one"
    assert sorted(path.name for path in executed.iterdir()) == ["scan.failed.ipynb", "scan.ipynb"]


def test_executed_notebooks_and_their_record(tiny_book: Path) -> None:
    home = tiny_book.parents[2]
    executed = nbformat.read(home / "notebooks" / "scenes.ipynb", as_version=4)
    assert any(cell.source == '# Parameters\nword = "ball"\n' for cell in executed.cells)
    records = json.loads((home / "execution.json").read_text())["notebooks"]
    assert [record["notebook"] for record in records] == list(CHAPTERS)
    for record in records:
        assert record["parameters"] == {"word": "ball"}
        assert record["seconds"] > 0
        assert record["device"] == "cpu"
        assert record["packages"]["torch"]


# --- pages -------------------------------------------------------------------------------------


def test_every_page_is_there_and_the_sources_are_untouched(tiny_book: Path) -> None:
    html, clone = tiny_book.parent, tiny_book.parents[4]
    assert tiny_book.exists()
    for page in ("intro", "three_ways", "task", "execution", "glossary", "bibliography"):
        assert (html / "book" / f"{page}.html").exists()
    for page in CHAPTERS:
        text = (html / "notebooks" / f"{page}.html").read_text()
        assert "ball" in text, f"{page} has not the value that the build sets"
        assert "# Parameters" not in text
        assert "{word}" not in text
    project = find_root()
    assert digest(clone / "book") == digest(project / "book")
    assert (clone / "book" / "code.md").read_text() == CODE
    assert "InputError" in (html / "book" / "code" / "itm_core.errors.html").read_text()
    assert not (clone / "book" / "generated").exists()


def test_the_landing_page_opens_with_the_explorer(tiny_book: Path) -> None:
    page = (tiny_book.parent / "book" / "intro.html").read_text()
    assert '<div class="itm-explorer">\n\n**word**</div>' in page  # as it was, no Markdown
    assert "largest margin" in page
    assert "og:description" in page


def test_code_is_left_to_the_switch_of_the_page(tmp_path: Path) -> None:
    cells = [
        new_code_cell("a = 1", metadata={"tags": ["parameters"]}),
        new_code_cell("b = 2", metadata={"tags": ["hide-input", "cover"]}),
        new_code_cell("c = 3", metadata={"tags": ["remove-input", "hide-output"]}),
        new_code_cell("d = 4"),
    ]
    tags = [cell.metadata.get("tags", []) for cell in page_of(tmp_path, *cells).cells]
    assert tags == [
        ["parameters", "foldable"],
        ["cover", "foldable"],
        ["remove-input", "hide-output"],
        [],
    ]


def test_the_execution_page_tells_device_versions_and_duration(tiny_book: Path) -> None:
    page = (tiny_book.parent / "book" / "execution.html").read_text()
    for message in ("first_match", "word=ball", "torch", "Processor cores", "add up to"):
        assert message in page


def test_a_warning_fails_the_build_and_the_last_book_stays(tmp_path: Path) -> None:
    write_clone(tmp_path)
    (tmp_path / "book" / "code.md").write_text("# The code\n")  # without the pages of the modules
    shutil.copytree(tmp_path / "notebooks", tmp_path / "data" / "book" / "notebooks")
    last = tmp_path / "data" / "book" / "_build" / "html" / "index.html"
    last.parent.mkdir(parents=True)
    last.write_text("the last good one")
    task = tmp_path / "book" / "task.md"
    task.write_text(task.read_text() + "\n{cite}`nobody`\n")
    with pytest.raises(BookError, match=r"task.md.*could not find bibtex key.*nobody") as raised:
        building.build(tmp_path)
    assert "\x1b" not in str(raised.value)
    assert last.read_text() == "the last good one"


def page_of(tmp_path: Path, *cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    nbformat.write(new_notebook(cells=list(cells)), tmp_path / "in.ipynb")
    staging.lay_over(tmp_path / "in.ipynb", tmp_path / "out.ipynb")
    return nbformat.read(tmp_path / "out.ipynb", as_version=4)


def picture(**metadata: object) -> nbformat.NotebookNode:
    return new_output("display_data", {"image/png": DOT}, metadata={"image/png": metadata})


def test_a_sentence_in_the_place_of_a_picture_has_no_caption(tmp_path: Path) -> None:
    drawn = {"mystnb": {"figure": {"caption": "Gains."}}}
    told = new_output("display_data", {"text/markdown": "No chart: one budget."})
    cells = [new_code_cell(outputs=[o], metadata=drawn) for o in (picture(), told)]
    page = page_of(tmp_path, *cells)
    assert [cell.metadata["mystnb"].get("figure") for cell in page.cells] == [
        {"caption": "Gains."}, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "alt"),
    [
        (new_code_cell(outputs=[picture()]), "Picture of the section “What attention sees”"),
        (new_code_cell(outputs=[picture(alt="a ball")]), "a ball"),
        (
            new_code_cell(
                outputs=[picture(alt="a ball")], metadata={"mystnb": {"image": {"alt": "a ring"}}}
            ),
            "a ring",
        ),
    ],
)
def test_every_picture_is_described(tmp_path: Path, cell: nbformat.NotebookNode, alt: str) -> None:
    heading = new_markdown_cell("# SCAN\n\n```\n# a comment\n```\n\n## *What* attention `sees`\n")
    page = page_of(tmp_path, heading, cell)
    assert page.cells[1].metadata["mystnb"]["image"]["alt"] == alt


def test_the_parameters_are_shown_once_with_the_values_of_the_run(tmp_path: Path) -> None:
    declared = "size = 'größe'  # a size\nseeds = [\n    0,\n]  # all\nimage = 35"
    cells = [
        new_code_cell(declared, metadata={"tags": ["parameters"]}),
        new_code_cell(
            '# Parameters\nseeds = [1, 2]\nsize = "tiny"\n',
            metadata={"tags": ["injected-parameters"]},
        ),
        new_code_cell("size"),
    ]
    page = page_of(tmp_path, *cells)
    expected = 'size = "tiny"  # a size\nseeds = [1, 2]  # all\nimage = 35'
    assert [cell.source for cell in page.cells] == [expected, "size"]
    page = page_of(tmp_path, cells[0], cells[2])
    assert [cell.source for cell in page.cells] == [declared, "size"]


def test_the_landing_page_includes_tagged_outputs_which_may_be_missing(tmp_path: Path) -> None:
    for name in ("first_match", "findings"):
        first, shown = (
            new_output("display_data", {"text/html": f"<p>{text}</p>"}) for text in ("first", name)
        )
        tag = {tag for tag, notebook in staging.INCLUDED.items() if notebook == name}
        tagged = new_code_cell(outputs=[shown], metadata={"tags": [*tag]})
        cells = [new_code_cell(outputs=[first]), tagged]
        nbformat.write(new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    staging.write_generated(tmp_path / "generated", [], notebooks=tmp_path)
    for part, name in staging.INCLUDED.items():
        text = (tmp_path / "generated" / f"{part}.md").read_text()
        assert text.startswith(f"~~~~~{{raw}} html\n<p>{name}</p>\n~~~~~\n")
    staging.write_generated(tmp_path / "bare", [], notebooks=tmp_path / "none")
    assert [path.read_text() for path in (tmp_path / "bare").glob("[cf]*.md")] == ["", ""]


def test_durations_are_readable() -> None:
    assert [staging._duration(s) for s in (1.23, 59.4, 60, 754)] == [
        "1.2 s",
        "59.4 s",
        "1 min 00 s",
        "12 min 34 s",
    ]
