"""A gallery that is killed at any moment and written again has the same bytes."""

from __future__ import annotations

import shutil
import signal
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from itm_book.galleries import indexing, picture_rows
from itm_core import files
from itm_core.cli import main
from itm_core.experiments.run import Run
from tests.itm_book.galleries.test_indexing import content, index
from tests.itm_book.photographs.test_interrupted_features import PATIENCE, killed_run
from tests.painted import paint, painted_folder

MOMENTS: list[tuple[Any, str, int, bool]] = [
    (files, "_created", 1, True),  # of the first note: only its temporary file is there
    (indexing, "write_json", 1, False),
    (indexing, "write_json", 1, True),
    (indexing, "content_hash", 2, True),
    (indexing, "write_json", 2, True),
    (indexing, "write_row", 1, False),
    (picture_rows, "save", 3, True),  # within the temporary file of a row
    (indexing, "write_row", 4, True),
    (indexing, "write_json", 3, False),
    (indexing, "prune", 1, False),
]


def killed(arguments: list[str], moment: tuple[Any, str, int, bool]) -> None:
    process = get_context("fork").Process(target=killed_run, args=(arguments, *moment))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = painted_folder(tmp_path_factory.mktemp("killed") / "photos")
    (folder / "damaged.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, matcher: Run) -> Path:
    assert index(folder, folder.parent / "whole", matcher) == 0
    return folder.parent / "whole"


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[1]}-{m[2]}-{m[3]}")
def test_an_index_that_is_killed_and_started_again_gives_the_same_bytes(
    moment: tuple[Any, str, int, bool],
    folder: Path,
    uninterrupted: Path,
    matcher: Run,
) -> None:
    made = folder.parent / f"{moment[1]}-{moment[2]}-{moment[3]}"
    arguments = ["index", str(folder), str(made), "--matcher", str(matcher.folder)]
    killed([*arguments, "--workers", "1", "--device", "cpu"], moment)
    assert index(folder, made, matcher) == 0
    assert content(made) == content(uninterrupted)


def test_an_index_that_is_not_finished_is_not_searched(
    folder: Path, matcher: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made"
    arguments = ["index", str(folder), str(made), "--matcher", str(matcher.folder)]
    killed([*arguments, "--workers", "1", "--device", "cpu"], (indexing, "write_row", 2, True))
    for command in (["search", str(made), "a dog"], ["gallery", "add", str(made), str(folder)]):
        assert main(command) == 2
        printed = capsys.readouterr().err
        assert "the gallery is not finished" in printed
        assert f"itm index {folder} {made} again" in printed


@pytest.mark.parametrize(
    "moment",
    [(indexing, "write_row", 1, True), (indexing, "write_json", 1, False),
     (indexing, "write_json", 1, True)],
    ids=lambda m: f"{m[1]}-{m[3]}",
)  # fmt: skip
def test_adding_that_is_killed_leaves_the_gallery_as_it_was_or_as_it_will_be(
    moment: tuple[Any, str, int, bool], folder: Path, uninterrupted: Path, matcher: Run
) -> None:
    home = folder.parent
    made = home / f"added-{moment[1]}-{moment[3]}"
    shutil.copytree(uninterrupted, made)
    paint(home / "more" / "a.png", "pink", seed=8)
    paint(home / "more" / "b.png", "red", seed=9)
    names = ["--matcher", str(matcher.folder)]
    arguments = ["gallery", "add", str(made), str(home / "more"), *names]
    killed([*arguments, "--workers", "1", "--device", "cpu"], moment)
    listed = indexing.open_photographs(made, names[1])
    assert len(listed) in (6, 8)
    assert listed.scores(["a red dog"]).shape == (len(listed), 1)
    assert main([*arguments, "--workers", "1", "--device", "cpu"]) == 0
    gone = ["gallery", "remove", str(made), "../more", *names]
    assert len(indexing.open_photographs(made, names[1])) == 8
    assert main(gone) == 0
    assert content(made) == content(uninterrupted)
