"""Pictures of one colour each, captions that name it, and a run on their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from itm_book.photographs.backbones import Colour
from itm_book.photographs.picture_sources import of_dataset
from itm_book.photographs.region_features import Task, make_features
from itm_book.regions.region_boxes import Grid
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.experiments import runs
from tests.micro import SMALL, write_dataset

COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 200, 20),
    "blue": (20, 20, 220),
    "white": (250, 250, 250),
    "black": (5, 5, 5),
    "pink": (220, 20, 160),
}


def paint(path: Path, colour: str, seed: int = 0) -> None:
    """Write a picture of one colour, with so much noise that no two are the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-4, 5, (30, 40, 3))
    Image.fromarray((noise + COLOURS[colour]).clip(0, 255).astype(np.uint8)).save(path)


def painted_folder(folder: Path) -> Path:
    """Return a folder with a picture of every colour."""
    for colour in COLOURS:
        paint(folder / f"{colour}.png", colour)
    return folder


def painted_dataset(folder: Path) -> Dataset:
    """Return a dataset whose pictures have the colours that its captions name.

    Its features are of the colour backbone, in the boxes of the fixed layout.
    """
    first = write_dataset(folder / "first", images=60)
    for split in ("train", "dev", "test"):
        lines = (first / f"{split}_caps.txt").read_text().splitlines()[::5]
        ids = (first / f"{split}_ids.txt").read_text().split()[::5]
        for name, line in zip(ids, lines, strict=True):
            paint(first / "pictures" / f"{name}.png", line.split()[1], int(name))
    task = Task(sources=of_dataset(first), backbone=Colour(), boxes=Grid())
    return load_dataset(make_features(task, folder / "painted", progress=False).folder)


def painted_run(data: Dataset, root: Path, recipe: str = "scan-t2i-mean") -> runs.Run:
    """Return a run on it that has learned its colours."""
    small = (change for change in SMALL if not change.startswith("training.epochs="))
    changes = (*small, "training.epochs=8", *(["regulator.width=4"] if "rcar" in recipe else []))
    return runs.train_or_load(
        data, recipe, overrides=changes, root=root, progress=False, device="cpu"
    )
