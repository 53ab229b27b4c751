"""Records of one image a file."""

from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itm_book.datasets.region_sources.image_files import BoxFiles, file_entries, holds_features
from itm_core.errors import InputError

RECORD = {"x": np.ones((3, 5)), "image_w": 80, "note": {"a": "dog"}}


@pytest.mark.parametrize("raw", [False, True])
def test_a_pickled_record_is_written_beside_its_file(tmp_path: Path, raw: bool) -> None:
    folder = tmp_path / "we\"$(touch ran) 'q'"
    folder.mkdir()
    path = folder / "1.npy"
    if raw:
        path.write_bytes(pickle.dumps(RECORD))
    else:
        np.save(path, np.array(RECORD), allow_pickle=True)
    before = path.read_bytes()
    (folder / "2.npy").write_bytes(b"another file, which is not opened")
    (entry,) = file_entries([path])
    with pytest.raises(InputError, match=r"1\.npy: pickled objects.*dictionary of arr") as caught:
        entry.read()
    line = str(caught.value).partition("once: python ")[2].partition("; other such")[0]
    command = f"{shlex.quote(sys.executable)} {line}"
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert path.read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == ["1.npy", "1.npz", "2.npy"]
    with np.load(folder / "1.npz") as made:
        np.testing.assert_array_equal(made["x"], RECORD["x"])


def test_pickled_boxes_have_a_plain_remedy(tmp_path: Path) -> None:
    np.save(tmp_path / "1.npy", np.array({"boxes": 1}), allow_pickle=True)
    with pytest.raises(InputError, match=r"1\.npy: pickled objects") as caught:
        BoxFiles(tmp_path).of("1.jpg")
    assert ".npz" not in str(caught.value)


def test_what_a_record_holds(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.ones((3, 5)))
    np.save(tmp_path / "boxes.npy", np.ones((3, 4)))
    np.savez(tmp_path / "features.npz", x=np.ones((3, 5)), bbox=np.ones((3, 4)))
    np.savez(tmp_path / "boxes.npz", bbox=np.ones((3, 4)))
    (tmp_path / "damaged.npy").touch()
    for name, holds in (
        ("features.npy", True),
        ("boxes.npy", False),
        ("features.npz", True),
        ("boxes.npz", False),
        ("damaged.npy", True),
    ):
        assert holds_features([tmp_path / name]) is holds, name
