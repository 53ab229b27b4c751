"""A grid of two small rows, and its batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from itm_book.batch import planning
from itm_book.batch.planning import Batch
from itm_book.records import grids
from tests.itm_book.batch.stand_in import STAND_IN, write_notebook
from tests.micro import SMALL, write_dataset

EPOCHS = 12
CHANGES = [*SMALL[:2], f"training.epochs={EPOCHS}", *SMALL[3:]]
GRID = {
    "title": "two rows",
    "sizes": {"tiny": {"dataset": "micro", "profile": "smoke", "seeds": [0], "minutes": 3}},
    "rows": {
        "t2i": {"recipe": "scan-t2i-mean", "changes": CHANGES},
        "i2t": {"recipe": "scan-i2t-mean", "changes": CHANGES},
    },
}


def make_place(folder: Path) -> Path:
    """Write a grid and the dataset that it is run on to a folder, and return it."""
    (folder / "two.yml").write_text(json.dumps(GRID))
    write_dataset(folder / "data" / "micro", images=40)
    return folder


def words(place: Path, *more: str) -> list[str]:
    told = ["grid", str(place / "two.yml"), "--size", "tiny", "--device", "cpu"]
    return [*told, "--data", str(place / "data"), "--root", str(place / "data" / "runs"), *more]


def prepare(place: Path, **more: object) -> Batch:
    data = place / "data"
    given = {"size": "tiny", "data": data, "root": data / "runs", "device": "cpu"} | more
    return planning.prepare(grids.load(place / "two.yml"), **given)  # type: ignore[arg-type]


def stand_in(place: Path, **more: object) -> Batch:
    notebook = write_notebook(place / "n" / "x.ipynb", STAND_IN)
    return replace(prepare(place, **more), notebook=notebook)
