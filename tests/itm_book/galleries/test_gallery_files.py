"""A gallery of photographs whose note or rows were changed is refused, and leaves no folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from itm_book.galleries.gallery_note import with_checksum
from itm_book.galleries.indexing import index_photographs
from itm_book.galleries.opening import open_gallery
from itm_core.cli import main
from itm_core.errors import InputError
from itm_core.experiments.run import Run
from itm_core.json_files import read_json, write_json
from tests.damages import refusals
from tests.painted import painted_folder


@pytest.fixture(scope="module")
def made(matcher: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of photographs."""
    place = tmp_path_factory.mktemp("photographs")
    index_photographs(painted_folder(place / "photos"), place / "gallery", matcher)
    return place / "gallery"


@pytest.fixture
def gallery(made: Path, matcher: Run, tmp_path: Path) -> Path:
    """A copy of the gallery."""
    folder = shutil.copytree(made, tmp_path / "gallery")
    edit(folder, matcher={"run": str(matcher.folder)})
    return folder


def edit(folder: Path, **changes: object) -> None:
    """Change the note, with the checksum of the changed one."""
    write_json(folder / "search.json", with_checksum(read_json(folder / "search.json") | changes))


def search(folder: Path) -> None:
    open_gallery(folder).search("a red square", 2)


def test_a_gallery_is_searched(gallery: Path) -> None:
    search(gallery)


def test_a_row_that_was_changed_is_refused(gallery: Path) -> None:
    path = next(iter((gallery / "pictures").rglob("*.safetensors")))
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name}: .*missing or damaged.*than were written"):
        search(gallery)


def test_a_row_of_another_photograph_is_refused(gallery: Path) -> None:
    first, second, *_ = sorted((gallery / "pictures").rglob("*.safetensors"))
    shutil.copyfile(first, second)
    with pytest.raises(InputError, match=rf"{second.name}: .*missing or damaged"):
        search(gallery)


def test_former_rows_without_a_checksum_are_read(gallery: Path) -> None:
    for path in (gallery / "pictures").rglob("*.safetensors"):
        save_file(load_file(path), path)
        with safe_open(path, "numpy") as file:
            assert not file.metadata()
    search(gallery)


def test_names_that_were_exchanged_are_refused(gallery: Path) -> None:
    note = read_json(gallery / "search.json")
    names, digests = [*note["pictures"]], [*note["pictures"].values()]
    note["pictures"] = dict(zip(names, reversed(digests), strict=True))
    write_json(gallery / "search.json", note)
    with pytest.raises(InputError, match=r"search\.json: the note of the gallery is damaged"):
        search(gallery)


@pytest.mark.parametrize("digest", ["../../secret", "/etc/passwd", "A" * 64, "", 3])
def test_a_content_outside_the_folder_is_refused(digest: object, gallery: Path) -> None:
    edit(gallery, pictures={"a.png": digest})
    with pytest.raises(InputError, match="no valid pictures"):
        search(gallery)


@pytest.mark.parametrize("name", ["/etc/secret.png", "../../secret.png", "a/../../secret.png"])
def test_a_page_shows_the_copy_of_the_gallery_alone(
    name: str, gallery: Path, tmp_path: Path
) -> None:
    """Whatever path a photograph is said to have, no file outside is read."""
    note = read_json(gallery / "search.json")
    edit(gallery, pictures={name: next(iter(note["pictures"].values()))})
    page = tmp_path / "page.html"
    assert main(["search", str(gallery), "a red square", "--html", str(page)]) == 0
    text = page.read_text()
    assert text.count("data:image/") >= 1
    assert 'src="/' not in text
    assert "file:" not in text


def test_every_damage_of_the_note_is_one_message(gallery: Path) -> None:
    note = read_json(gallery / "search.json")
    del note["checksum"]
    write_json(gallery / "search.json", note)
    assert refusals(gallery / "search.json", lambda: search(gallery)) > 60
