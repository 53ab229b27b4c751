"""Data that loads and teaches nothing: check warns with numbers, train refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itm_core.cli import main
from itm_core.data.dataset import load_dataset
from tests.micro import SMALL, write_dataset

OVERRIDES = [word for change in SMALL for word in ("--set", change)]


def features(*splits: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """What changes the features of some splits."""

    def spoil(folder: Path) -> None:
        for split in splits:
            path = folder / f"{split}_ims.npy"
            np.save(path, change(np.load(path)))

    return spoil


def captions(text: str) -> Callable[[Path], None]:
    """What replaces the captions of all splits by one."""
    names = ("train", "dev", "test")
    return lambda folder: [(folder / f"{n}_caps.txt").write_text(60 * text) for n in names] and None


def both(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What check warns of, and the line with which train refuses."""
    assert main(["check", str(folder)]) == 0
    warnings = [x for x in capsys.readouterr().out.splitlines() if x.startswith("warning: ")]
    train = f"train --recipe scan-t2i-mean --device cpu --dataset {folder} --root {tmp_path / 'r'}"
    main([*train.split(), *OVERRIDES])
    refused = [x for x in capsys.readouterr().err.splitlines() if x.startswith("itm: ")]
    assert not refused or not (tmp_path / "r").exists()
    return "\n".join(warnings), "\n".join(refused)


@pytest.mark.parametrize(
    ("spoil", "warning", "refusal"),
    [
        (
            features("train", "dev", "test", change=lambda v: -0.0 * v),
            "train: equal features: 11 of 12 images compared .*another one, which are all 0\n.*dev",
            "train_ims.npy: nothing can be learned from images that are all equal; found 11 of 12",
        ),
        (features("train", change=lambda v: 0 * v + 3), "11 of 12", "images that are all equal"),
        (features("train", change=lambda v: v[:1].repeat(12, 0)), "11 of 12", "are all equal"),
        (features("train", change=lambda v: v[[0] * 7 + [7, 8, 9, 10, 11]]), "6 of 12", ""),
        (features("test", change=lambda v: v[:1].repeat(12, 0)), "test: .* 11 of 12", ""),
        (captions("a dog\n"), "train: 59 of 60 captions repeat", "captions that are all equal"),
        (captions("...\n"), "test: 60 of 60 captions have no word", "or have no words"),
        (features("train", change=lambda v: v), "^$", ""),
    ],
)
def test_data_that_teaches_nothing_is_refused(
    spoil: Callable[[Path], None],
    warning: str,
    refusal: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_dataset(tmp_path / "micro")
    spoil(folder)
    warnings, refused = both(folder, tmp_path, capsys)
    assert re.search(warning, warnings, re.DOTALL), warnings
    assert refusal in refused if refusal else not refused


def test_equal_features_of_one_caption_each_are_no_single_image(tmp_path: Path) -> None:
    """As one image they would be found by every caption: every recall would be 100."""
    folder = write_dataset(tmp_path / "micro", captions=1)
    for split in ("dev", "test"):
        np.save(folder / f"{split}_ims.npy", 0 * np.load(folder / f"{split}_ims.npy"))
    data = load_dataset(folder)
    assert len(data.test.regions) == 12
    assert data.repeats["test"].all
    (folder / "test_ids.txt").write_text("alone\n" * 12)  # which the ids can say
    assert len(load_dataset(folder).test.regions) == 1


def test_a_single_training_image_is_not_called_equal_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "micro", images=1)
    warnings, refused = both(folder, tmp_path, capsys)
    assert not warnings
    assert "train_ims.npy: a single training image; expected two or more" in refused
    assert "Remedy: add images" in refused


def test_word_vectors_of_no_word_are_refused_before_a_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_dataset(tmp_path / "micro")
    (tmp_path / "other.txt").write_text("<unk> 1 2 3 4 5 6\n. 1 2 3 4 5 6\nHund 1 2 3 4 5 6\n")
    train = f"train --recipe scan-t2i-mean --device cpu --dataset {folder} --root {tmp_path / 'r'}"
    vectors = ["--set", f"encoder.word_vectors={tmp_path / 'other.txt'}"]
    assert main([*train.split(), *OVERRIDES, *vectors]) == 2
    assert "other.txt: none of the words is in this file" in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
