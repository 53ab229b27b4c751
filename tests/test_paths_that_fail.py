"""Every path that a command takes, with everything that the system can refuse: one line, code 2."""

from __future__ import annotations

import base64
import builtins
import errno
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from itm_core.cli import main
from itm_core.errors import PROBLEMS
from tests.attack.place import GRID, OVERRIDES, TRAIN
from tests.micro import write_dataset
from tests.photos import write_photographs
from tests.rights import closed

# @ is the path with the fault; the other names are those of the files in the fixture `place`
READ = (
    f"{TRAIN} --dataset @",
    "check @",
    "runs --root @",
    "score @ data/micro",
    "score RUN @",
    "score RUN data/micro --vocabulary @",
    "grid @.yml --dry-run",
    "grid grid.yml --size tiny --data @ --dry-run",
    "grid grid.yml --size tiny --data data --root @ --dry-run",
    "results export grid.yml --size tiny --data @",
    "results attention grid.yml --size tiny --data @",
    "results seal @",
    "results judge grid.yml --size tiny --data data --root runs --annotations @",
    "results ship @ name --dataset data/micro --terms none --models models",
    "results ship RUN name --dataset @ --terms none --models models",
    "parity @",
    "bench spread --dataset @ --seeds 0 --variants threads",
    "import @ --folder imported",
    "data list --registry @",
    "data doctor flickr8k --data @",
    "data get flickr8k --registry @",
    "data vocab @",
    "data convert @ converted --captions captions.txt --split test",
    "data convert features.tsv converted --captions @ --split test",
    "data entities @",
    "data entities data/micro --annotations @",
    "data coverage @",
    "data make @ --out made --backbone colour",
    "data make photographs --out made --backbone colour --boxes @",
    "data make photographs --out made --backbone colour --captions test=@",
    "data make photographs --out made --backbone @",
    "index @ gallery --run RUN",
    "index data/micro gallery --run @",
    "index @ gallery --matcher RUN",
    "search @ dog",
    "gallery list @",
    "gallery add @ photographs",
    "gallery remove @ photographs",
    "gallery export @ scores.npz",
)
WRITTEN = (
    f"{TRAIN} --dataset data/micro --root @ {' '.join(OVERRIDES)}",
    "scenes --preset tiny --folder @",
    "score RUN data/micro --out @",
    "results export grid.yml --size tiny --data data --root runs --record @",
    "data convert features.tsv @ --captions captions.txt --split test",
    "data make photographs --out @ --backbone colour --boxes grid",
    "index data/micro @ --run RUN",
)


def write_features(path: Path) -> None:
    """Two regions of one image, as the released tsv files have them."""
    boxes, features = np.float32([[0, 0, 5, 5]] * 2), np.ones((2, 6), np.float32)
    encoded = [base64.b64encode(values).decode() for values in (boxes, features)]
    path.write_text("\t".join(["1", "10", "10", "2", *encoded]) + "\n")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with a dataset, a run, photographs, a grid and features to convert."""
    with open_folder() as folder:
        fill(folder)
        yield folder


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that everyone may enter; pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o777)
        yield folder


def fill(folder: Path) -> None:
    write_dataset(folder / "data" / "micro")
    write_photographs(folder / "photographs", 2)
    (folder / "grid.yml").write_text(yaml.safe_dump(GRID))
    (folder / "captions.txt").write_text("1.jpg#0\ta red ball\n")
    write_features(folder / "features.tsv")
    train = f"{TRAIN} --dataset {folder / 'data' / 'micro'} --root {folder / 'runs'}"
    assert main([*train.split(), *OVERRIDES]) == 0


def run_command(template: str, path: Path, place: Path) -> int:
    """The exit code of a command with a path in the place of ``@``, run in the folder."""
    (run,) = (place / "runs").glob("micro/*/*")
    words = template.split()
    words = [str(run) if word == "RUN" else word.replace("@", str(path)) for word in words]
    return main(words)


FAULTS: dict[str, Callable[[Path], Path]] = {
    "missing": lambda folder: folder / "absent" / "x",
    "an empty folder": lambda folder: folder / "folder",
    "a file": lambda folder: folder / "file",
    "below a file": lambda folder: folder / "file" / "x",
    "closed": lambda folder: folder / "closed",
    "in a closed folder": lambda folder: folder / "closed" / "x",
    "a closed file": lambda folder: folder / "closed file",
    "too long": lambda folder: folder / ("x" * 300),
    "a link to itself": lambda folder: folder / "loop",
}


@pytest.fixture
def faults() -> Iterator[Path]:
    """A folder with everything that is wrong with a path."""
    with open_folder() as folder:
        for name in ("folder", "closed"):
            (folder / name).mkdir()
        for name in ("file", "closed file"):
            (folder / name).write_text("no file of any program\n")
        (folder / "loop").symlink_to(folder / "loop")
        yield folder


def require_failure(code: int, error: str, named: Path) -> None:
    """Exit code 2 with one line that names the path; 1 is for reports about a file."""
    assert "Traceback" not in error
    if code == 2:
        lines = [line for line in error.splitlines() if line.startswith("itm: ")]
        assert len(lines) == 1, error
        assert str(named) in lines[0]


@pytest.mark.parametrize("template", READ)
def test_a_path_that_cannot_be_read_is_one_line(
    template: str,
    place: Path,
    faults: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    for name, of in FAULTS.items():
        code = attempt(template, name, of(faults), faults, place)
        require_failure(code, capsys.readouterr().err, faults)


@pytest.mark.parametrize("name", ["a file", "below a file", "in a closed folder", "too long"])
@pytest.mark.parametrize("template", WRITTEN)
def test_a_path_that_cannot_be_written_is_one_line(
    template: str,
    name: str,
    place: Path,
    faults: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    if template.endswith("--record @") and name == "a file":
        return  # a record is a file, and what is in this one is reported
    code = attempt(template, name, FAULTS[name](faults), faults, place)
    assert code == 2
    require_failure(code, capsys.readouterr().err, faults)


def attempt(template: str, name: str, path: Path, faults: Path, place: Path) -> int:
    """The exit code of a command on a path with a fault; closed to it where the name says so."""
    with ExitStack() as rights:
        if "closed" in name:
            rights.enter_context(closed(faults / ("closed file" if "file" in name else "closed")))
        try:
            return run_command(template, path, place)
        except Exception as error:
            pytest.fail(f"{name}: {error!r}")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("template", WRITTEN)
def test_a_drive_that_takes_nothing_is_one_line(
    template: str,
    number: int,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    refuse_writing(tmp_path, number, monkeypatch)
    assert run_command(template, tmp_path / "new" / "x", place) == 2
    error = capsys.readouterr().err
    require_failure(2, error, tmp_path)
    assert "Remedy: " in error
    assert not list(tmp_path.iterdir())


def refuse_writing(folder: Path, number: int, patch: pytest.MonkeyPatch) -> None:
    """Let the system refuse every new file and folder below one, with an error of this number."""

    def refusing(function: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            inside = isinstance(path, str | os.PathLike) and Path(path).is_relative_to(folder)
            if inside and writes(*arguments, **options):
                raise OSError(number, os.strerror(number), str(path))
            return function(path, *arguments, **options)

        return call

    def mode_writes(mode: str = "r", *_: object, **__: object) -> bool:
        return bool(set(mode) & set("wax+"))

    patch.setattr(builtins, "open", refusing(builtins.open, mode_writes))
    patch.setattr(io, "open", refusing(io.open, mode_writes))
    patch.setattr(os, "open", refusing(os.open, lambda flags, *_, **__: bool(flags & os.O_CREAT)))
    patch.setattr(os, "mkdir", refusing(os.mkdir, lambda *_, **__: True))


@pytest.mark.parametrize("number", sorted(PROBLEMS))
def test_every_error_of_the_system_has_a_remedy(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise OSError(number, os.strerror(number), "some file")

    monkeypatch.setattr("itm_core.experiments.run_list.listed", fail)
    assert main(["runs"]) == 2
    assert capsys.readouterr().err.startswith(f"itm: some file: {PROBLEMS[number][0][:8]}")


def test_what_is_not_about_a_file_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError("a fault of the program")

    monkeypatch.setattr("itm_core.experiments.run_list.listed", fail)
    with pytest.raises(OSError, match="a fault of the program"):
        main(["runs"])


def test_the_folder_that_denies_access_is_named(
    faults: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (faults / "closed" / "below").mkdir()
    with closed(faults / "closed"):
        assert main(["check", str(faults / "closed" / "below")]) == 2
    assert f"chmod a+rx {faults / 'closed'}\n" in capsys.readouterr().err
