"""Methods trained on tiny Scenes, with pictures, boxes and truth: for tests of what is drawn."""

from __future__ import annotations

from pathlib import Path

from itm_book.pairs.pair_records import PairRecord, pair_record
from itm_book.scenes.generate import make_scenes
from itm_core.data.dataset import Split, load_dataset
from itm_core.experiments import runs
from itm_core.files import locked

QUICK = (
    "training.epochs=1",
    "encoder.embedding=8",
    "encoder.word_width=8",
    "regulator.width=4",
)
IMAGE, CAPTION = 1, 2


def scenes(folder: Path) -> Split:
    """Return the test split of tiny Scenes, made once in ``folder``."""
    make_scenes(folder / "scenes-tiny", preset="tiny", progress=False)
    return load_dataset(folder / "scenes-tiny").test


def trained(folder: Path, recipe: str) -> runs.Run:
    """Return a run of seconds on the scenes of ``folder``, trained once by whoever needs it."""
    with locked(folder / f".{recipe}.lock"):  # a second process of pytest waits, then loads
        return runs.train_or_load(
            folder / "scenes-tiny",
            f"{recipe}-smoke",
            root=folder / "runs",
            overrides=QUICK,
            device="cpu",
            progress=False,
        )


def records(folder: Path, *recipes: str) -> list[PairRecord]:
    """Return how methods saw one pair."""
    split = scenes(folder)
    place = split.place(IMAGE, CAPTION)
    return [pair_record(trained(folder, name), split, IMAGE, place, name=name) for name in recipes]
