"""HDF5 and LMDB in the forms of their releases; skipped where the libraries are not installed."""

from __future__ import annotations

import base64
import io
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itm_book.datasets.convert import convert
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from tests.itm_book.datasets.region_sources.test_source import require_truth
from tests.itm_book.datasets.test_convert import IDS, regions_of, write_karpathy


def convert_file(tmp_path: Path, source: Path) -> None:
    captions = write_karpathy(tmp_path / "dataset.json")
    convert(source, tmp_path / "made", captions, progress=False)


@pytest.mark.parametrize("form", ["meshed-memory", "arrays", "groups", "stacked", "pos_boxes"])
def test_hdf5(tmp_path: Path, form: str) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "coco_detections.hdf5"
    images = [regions_of(image) for image in IDS]
    features, boxes = (np.stack([r[name] for r in images]) for name in ("x", "boxes"))
    with h5py.File(path, "w") as file:
        if form == "stacked":
            file["image_features"], file["image_bb"], file["image_ids"] = features, boxes, IDS
        elif form == "pos_boxes":
            file["image_features"], file["image_bb"] = features.reshape(-1, 5), boxes.reshape(-1, 4)
            file["spatial_features"] = np.zeros((3 * len(IDS), 6))
            file["pos_boxes"] = np.arange(0, 3 * len(IDS), 3)[:, None] + [0, 3]
            (tmp_path / "coco_detections_ids.txt").write_text("\n".join(map(str, IDS)))
        for image, r in zip(IDS, images, strict=True):
            if form == "meshed-memory":
                file[f"{image}_features"], file[f"{image}_boxes"] = r["x"], r["boxes"]
                for name in ("cls_prob", "prob", "cls_prob_of_all"):
                    file[f"{image}_{name}"] = np.ones((3, 1601), np.float32)
            elif form == "arrays":
                file[str(image)] = r["x"]
            elif form == "groups":
                name = f"COCO_val2014_{image:012}"
                file[f"{name}/features"], file[f"{name}/boxes"] = r["x"], r["boxes"]
    captions = write_karpathy(tmp_path / "dataset.json")
    done = convert(path, tmp_path / "made", captions, progress=False)
    require_truth(tmp_path / "made", form != "arrays", False)
    assert done.skipped == 0


def test_hdf5_without_the_names_of_its_images(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "val36.hdf5", "w") as file:
        file["image_features"] = np.ones((7, 3, 5), np.float32)
    with pytest.raises(InputError, match=r"without the names.*or val36_ids.txt beside the file"):
        convert_file(tmp_path, tmp_path / "val36.hdf5")
    (tmp_path / "val36_ids.txt").write_text("1\n2\n")
    with pytest.raises(InputError, match="names and features differ; expected 7, found 2 names"):
        convert_file(tmp_path, tmp_path / "val36.hdf5")


def test_the_line_for_a_pickled_index_is_safe_in_a_shell(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "it's $(touch ran).hdf5"
    with h5py.File(path, "w") as file:
        file["image_features"] = np.ones((2, 3, 5), np.float32)
    (tmp_path / "imgid2idx.pkl").write_bytes(pickle.dumps({"7": 1, "12": 0}))
    with pytest.raises(InputError, match="without the names") as caught:
        convert_file(tmp_path, path)
    line = str(caught.value).partition("that you trust: python ")[2]
    subprocess.run(f"{shlex.quote(sys.executable)} {line}", shell=True, check=True, cwd=tmp_path)
    assert not (tmp_path / "ran").exists()
    assert path.with_name(f"{path.stem}_ids.txt").read_text().split() == ["12", "7"]


def npz(values: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **values)
    return stream.getvalue()


def as_msgpack(values: dict[str, Any]) -> bytes:
    """As msgpack-numpy writes arrays."""
    msgpack = pytest.importorskip("msgpack")
    coded = {
        name: {
            b"nd": True,
            b"type": array.dtype.str,
            b"kind": b"",
            b"shape": array.shape,
            b"data": array.tobytes(),
        }
        for name, array in values.items()
    }
    return msgpack.packb(coded, use_bin_type=True)


@pytest.mark.parametrize("form", ["npz", "msgpack", "pickle"])
def test_lmdb(tmp_path: Path, form: str) -> None:
    lmdb = pytest.importorskip("lmdb")
    source = tmp_path / "feat_numbb36"
    with lmdb.open(str(source), map_size=2**20) as store, store.begin(write=True) as transaction:
        transaction.put(b"__keys__", b"[]")
        for image in IDS:
            values = {"features": regions_of(image)["x"], "conf": np.ones(3, np.float32)}
            if form == "npz":
                values["bbox"] = regions_of(image)["boxes"]
            write = {"npz": npz, "msgpack": as_msgpack, "pickle": pickle.dumps}[form]
            transaction.put(f"coco_val2014_{image:012}.npz".encode(), write(values))
    if form == "pickle":
        with pytest.raises(
            InputError, match=r"pickled objects, which are not opened.*write an .np"
        ):
            convert_file(tmp_path, source)
    else:
        convert_file(tmp_path, source)
        require_truth(tmp_path / "made", form == "npz", False)


@pytest.mark.parametrize(("name", "library"), [("a.h5", "h5py"), ("a.lmdb", "lmdb")])
def test_without_the_library_one_sentence_names_the_command(
    tmp_path: Path, name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r'needs the extra "stores": pip install "itm-core\[store'):
        convert_file(tmp_path, tmp_path / name)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("name", "kind"), [("a.h5", "HDF5"), ("a.lmdb", "LMDB")])
def test_other_files_of_these_endings_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    pytest.importorskip({"HDF5": "h5py", "LMDB": "lmdb"}[kind])
    (tmp_path / name).write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=f"not readable as {kind}"):
        convert_file(tmp_path, tmp_path / name)


def test_the_line_of_the_page_writes_files_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lmdb = pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    truth = {image: rng.normal(size=(2, 2048)).astype(np.float32) for image in IDS}
    boxes = base64.b64encode(np.float32([[0, 0, 9, 9]] * 2).tobytes())
    with lmdb.open("features.lmdb", map_size=2**24) as store, store.begin(write=True) as write:
        write.put(b"keys", pickle.dumps([]))
        for image, x in truth.items():
            item = {"features": base64.b64encode(x.tobytes()), "boxes": boxes}
            write.put(str(image).encode(), pickle.dumps({**item, "img_w": 80, "img_h": 60}))
    page = (Path(__file__).parents[4] / "book/files.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(code, "book/files.md", "exec"), {})
    convert_file(tmp_path, tmp_path / "regions")
    split = load_split(tmp_path / "made", "dev")
    np.testing.assert_array_equal(split.regions[0], truth[int(split.ids[0])])
    assert split.boxes is not None
    assert split.sizes is not None
