"""A folder with a valid file of every kind that a command or reader opens."""

from __future__ import annotations

import gzip
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import yaml

from itm_core.cli import main
from itm_core.data.vocabulary import tokenise
from itm_core.json_files import read_json, write_json
from tests.itm_book.checkpoints.test_importing import write as write_checkpoint
from tests.itm_book.datasets import test_registry
from tests.itm_book.datasets.region_sources import writing
from tests.itm_book.datasets.test_convert import write_karpathy
from tests.itm_book.datasets.test_entities import write_entities, write_split
from tests.micro import COLOURS, SMALL, THINGS, write_dataset
from tests.painted import painted_dataset, painted_run
from tests.photos import write_photographs
from tests.places import GOLDEN, PROJECT

GRID = {
    "title": "one row",
    "sizes": {"tiny": {"dataset": "micro", "profile": "scenes", "seeds": [0]}},
    "rows": {"SCAN": {"recipe": "scan-t2i-mean", "changes": list(SMALL)}},
}
OVERRIDES = [word for change in SMALL for word in ("--set", change)]
TRAIN = "train --recipe scan-t2i-mean --device cpu"


def fill(folder: Path) -> None:
    """Write everything that the commands of `tests.attack.commands` read."""
    _write_texts(folder)
    _write_dataset(folder / "data" / "micro")
    train = f"{TRAIN} --dataset {folder / 'data' / 'micro'} --root {folder / 'runs'}"
    assert main([*train.split(), *OVERRIDES]) == 0
    (run,) = (folder / "runs").glob("micro/*/*")
    shutil.copytree(run, folder / "run")
    index = f"index {folder / 'data/micro'} {folder / 'vectors'} --run {folder / 'run'}"
    assert main(index.split()) == 0
    writing.cocobu(folder / "cocobu")
    for form in (writing.butd_parts, writing.vinvl, writing.oscar):
        form(folder / form.__name__)
    write_karpathy(folder / "karpathy.json")
    _write_stores(folder)
    _write_import(folder)
    write_split(folder / "entities")
    write_entities(folder / "annotations", "1007129816")
    _write_gallery(folder)
    (folder / "reference").mkdir()
    for name in ("scan_t2i_lse", "loss_cases"):
        if (GOLDEN / f"{name}.npz").exists():
            shutil.copy(GOLDEN / f"{name}.npz", folder / "reference")
    _write_records(folder / "records")


def _write_texts(folder: Path) -> None:
    (folder / "grid.yml").write_text(yaml.safe_dump(GRID))
    (folder / "sentences.txt").write_text("a red dog\na blue ball\n")
    (folder / "captions.txt").write_text("".join(f"p{i}.png#0\ta red ball\n" for i in range(2)))
    registry = test_registry.GOOD.replace("https://example.org", "http://127.0.0.1:1")
    (folder / "registry.toml").write_text(registry)
    (folder / "words.vec").write_text("2 6\nred 1 2 3 4 5 6\ndog 1 2 3 4 5 6\n")
    shutil.copy(PROJECT / "notebooks" / "experiment.ipynb", folder)
    write_photographs(folder / "photographs", 2)
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text("executor: local\njobs: 1\n")
    judged = "2000.jpg\t2001.jpg#2\t1\t1\t2\n2003.jpg\t2000.jpg#4\t4\t2\t2\n"
    (folder / "expert.txt").write_text(judged)
    (folder / "expert.txt.gz").write_bytes(gzip.compress(judged.encode()))


def _write_dataset(folder: Path) -> None:
    """A dataset with boxes, sizes, annotations and a vocabulary."""
    write_dataset(folder)
    for split in ("train", "dev", "test"):
        boxes = np.tile(np.array([1, 1, 9, 9], np.float32), (12, 4, 1))
        np.save(folder / f"{split}_boxes.npy", boxes)
        np.save(folder / f"{split}_img_sizes.npy", np.full((12, 2), 10))
        captions = (folder / f"{split}_caps.txt").read_text().splitlines()
        entry = {"objects": [0], "kinds": ["animals"], "phrase": 0}
        words = [[None, entry, *[None] * (len(tokenise(c)) - 2)] for c in captions]
        write_json(folder / f"{split}_words.json", words)
        write_json(folder / f"{split}_objects.json", [{"objects": [{"box": [1, 1, 9, 9]}]}] * 12)
    assert main(["data", "vocab", str(folder), "--threshold", "1"]) == 0


def _write_stores(folder: Path) -> None:
    import h5py
    import lmdb

    draw = np.random.default_rng(0)
    with h5py.File(folder / "features.hdf5", "w") as file:
        for image in range(2):
            file[f"{image}_features"] = draw.normal(size=(3, 5)).astype(np.float32)
            file[f"{image}_boxes"] = np.tile(np.array([1, 1, 9, 9], np.float32), (3, 1))
    (folder / "few.txt").write_text("0.jpg#0\ta dog\n1.jpg#0\ta cat\n")
    with lmdb.open(str(folder / "lmdb"), map_size=2**17) as store, store.begin(write=True) as write:
        for image in range(2):
            value = BytesIO()
            boxes = np.tile(np.array([1, 1, 9, 9], np.float32), (3, 1))
            np.savez(value, features=np.ones((3, 5), np.float32), boxes=boxes)
            write.put(str(image).encode(), value.getvalue())


def _write_import(folder: Path) -> None:
    """A checkpoint of a release, its import, and a vocabulary and features as it expects them."""
    write_checkpoint(folder / "scan.pth.tar", "scan_t2i_lse")
    assert main(f"import {folder / 'scan.pth.tar'} --folder {folder / 'imported'}".split()) == 0
    special = ["<pad>", "<start>", "<end>", "<unk>", *COLOURS, *THINGS]
    words = {word: number for number, word in enumerate([*special, *map(str, range(35))])}
    write_json(folder / "words.json", {"word2idx": words})
    write_dataset(folder / "data" / "wide")
    width = read_json(folder / "imported" / "config.json")["feature_width"]
    for split in ("train", "dev", "test"):
        path = folder / "data" / "wide" / f"{split}_ims.npy"
        np.save(path, np.resize(np.load(path), (12, 4, width)))


def _write_gallery(folder: Path) -> None:
    """A matcher of colours and a gallery of photographs made with it."""
    painted = folder / "painted"
    data = painted_dataset(painted)
    run = painted_run(data, folder / "painted_runs")
    shutil.copytree(run.folder, folder / "colours")
    shutil.rmtree(folder / "painted_runs")
    index = f"index {folder / 'photographs'} {folder / 'gallery'} --run {folder / 'colours'}"
    assert main([*index.split(), "--workers", "1"]) == 0


def _write_records(folder: Path) -> None:
    """The first lines of the records in the repository: with their checksums, and without."""
    shutil.copytree(PROJECT / "data" / "published", folder / "published")
    for path in sorted((PROJECT / "data" / "results").glob("*.csv")):
        if path.name != "checksums.csv":
            lines = path.read_text().splitlines(keepends=True)[:6]
            (folder / path.name).write_text("".join(lines))
    shutil.copytree(folder, folder.with_name("unsealed"))
    assert main(["results", "seal", str(folder)]) == 0
