"""A tiny dataset in the SCAN layout, for tests that need a folder of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

COLOURS = ("red", "green", "blue", "white", "black", "pink")
THINGS = ("dog", "cat", "ball", "kite", "boat")


def write_dataset(
    folder: Path, *, images: int = 12, regions: int = 4, captions: int = 5, seed: int = 0
) -> Path:
    """Write three splits whose regions encode the colour and the thing of their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    for number, split in enumerate(("train", "dev", "test")):
        colour = draw.integers(len(COLOURS), size=images)
        thing = draw.integers(len(THINGS), size=images)
        features = draw.normal(size=(images, regions, 11)).astype(np.float32) * 0.1
        features[np.arange(images), 0, colour] += 1
        features[np.arange(images), 0, 6 + thing] += 1
        np.save(folder / f"{split}_ims.npy", features)
        lines = [
            f"A {COLOURS[c]} {THINGS[t]} {'runs ' * k}."
            for c, t in zip(colour, thing, strict=True)
            for k in range(captions)
        ]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")
        ids = [str(1000 * number + i) for i in range(images) for _ in range(captions)]
        (folder / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
    return folder


SMALL = (
    "encoder.embedding=8",
    "encoder.word_width=6",
    "training.epochs=2",
    "training.batch=16",
    "training.learning_rate=0.01",
)
