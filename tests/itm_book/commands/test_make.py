"""``itm data make``: what it makes of its arguments, what it prints, exit codes 0 and 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itm_book.photographs.own_split import load_own
from itm_core.cli import main
from itm_core.data.dataset import load_split
from tests.photos import save_model, write_captions, write_flickr8k, write_photographs


def test_flickr8k_lands_beside_its_photographs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_flickr8k(tmp_path / "flickr8k")
    arguments = ["data", "make", "flickr8k", "--data", str(tmp_path), "--backbone", "colour"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("train: 3 images, 36 regions of 92\ndev: 1 images")
    assert printed.endswith(f"{tmp_path / 'flickr8k-regions'}\n")
    assert main(["check", str(tmp_path / "flickr8k-regions")]) == 0


def test_a_folder_with_a_network_boxes_and_captions(tmp_path: Path) -> None:
    pictures, model = write_photographs(tmp_path / "photos"), save_model(tmp_path / "net")
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    for k in range(4):
        np.savez(boxes / f"p{k}.npz", boxes=[[1.0, 2, 3, 4 + k]])
    out = ["--out", str(tmp_path / "out"), "--backbone", str(model), "--side", "64"]
    out += ["--boxes", str(boxes), "--device", "cpu"]
    parts = [
        f"{split}={write_captions(tmp_path / split, images)}"
        for split, images in (("train", [0, 3]), ("dev", [1]))
    ]
    given = [part for one in parts for part in ("--captions", one)]
    assert main(["data", "make", str(pictures), *out, *given]) == 0
    train = load_split(tmp_path / "out", "train")
    assert train.regions.shape == (2, 36, 16)
    assert train.boxes is not None
    assert train.boxes[1, 0].tolist() == [1, 2, 3, 7]
    assert load_split(tmp_path / "out", "dev").ids == ["p1.png"]


def test_a_dataset_with_another_layout(tmp_path: Path) -> None:
    pictures = write_photographs(tmp_path / "photos")
    text = write_captions(tmp_path / "t", [0, 1])
    first = ["--out", str(tmp_path / "a"), "--backbone", "colour", "--captions", f"test={text}"]
    assert main(["data", "make", str(pictures), *first]) == 0
    again = ["--out", str(tmp_path / "b"), "--backbone", "colour", "--boxes", "grid"]
    assert main(["data", "make", str(tmp_path / "a"), *again]) == 0
    assert (tmp_path / "b" / "test_ims.npy").read_bytes() == (
        tmp_path / "a" / "test_ims.npy"
    ).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--backbone", "colour"], "unknown source of photographs; expected flickr8k"),
        (["flickr8k", "--backbone", "colour"], "Flickr8k is missing"),
        (["photos", "--backbone", "data/resnet-50"], "no such folder"),
        (
            ["photos", "--backbone", "colour", "--workers", "0"],
            "--workers: expected a whole",
        ),
        (["photos", "--backbone", "colour", "--boxes", "nowhere"], "no files of boxes"),
        (["photos", "--backbone", "colour", "--captions", "photos/t"], "this file has no splits"),
        (
            ["set", "--backbone", "colour", "--captions", "photos/t"],
            "--captions are of a folder of photographs; found set, which has its own",
        ),
        (
            ["photos", "--backbone", "colour", "--boxes", "grid", "--out", ""],
            "--out: expected the name of a file or folder",
        ),
        (
            ["photos", "--backbone", "colour", "--boxes", "grid", "--captions", "test=long.txt"],
            "long.txt: a caption of image p0 is too long; expected 200 tokens at most, found 2000",
        ),
        (
            ["photos", "--backbone", "colour", "--boxes", "grid", "--captions", "../x=photos/t"],
            "not the name of a split",
        ),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_captions(write_photographs(tmp_path / "photos") / "t", [0])
    (tmp_path / "data").mkdir()
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "test_ims.npy").touch()
    (tmp_path / "long.txt").write_text(f"p0.jpg#0\t{'[' * 2000}\n")
    assert main(["data", "make", *arguments]) == 2
    assert not list(tmp_path.glob("**/.*.partial"))
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_damaged_photographs_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = write_photographs(tmp_path / "photos")
    (pictures / "p1.png").write_bytes(b"x")
    given = ["data", "make", str(pictures), "--out", str(tmp_path / "o"), "--backbone", "colour"]
    assert main(given) == 2
    assert "p1.png: not readable as a picture" in capsys.readouterr().err
    assert main([*given, "--skip-damaged"]) == 0
    printed = capsys.readouterr().out
    assert "skipped: 1\n    p1.png: not readable as a picture: no picture" in printed
    assert len(load_own(tmp_path / "o").ids) == 3
