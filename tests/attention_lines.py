"""A small record of attention against people's boxes, made of drawn numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from itm_book.records import attention
from itm_book.records.attention import ALL, IOUS, MEASURES, TRAINED, UNIFORM, UNTRAINED
from itm_book.records.grids import Grid, Row, Size
from itm_core.evaluation.attention_measures import CURVES, MULTIPLES

IMAGES = 40
SEEDS = (0, 1, 2)
KINDS = (ALL, "people", "animals", "instruments")
LEVEL = {"scan-t2i-mean": 0.5, "rcar-t2i": 0.7, "chan": 0.45}
GRID = Grid(
    name="small",
    title="three methods",
    sizes={"tiny": Size(dataset="photographs", profile="scenes", seeds=SEEDS)},
    rows={
        "CHAN": Row(recipe="chan", group="CHAN"),
        "SCAN": Row(recipe="scan-t2i-mean", group="hosts"),
        "RCAR": Row(recipe="rcar-t2i", host="SCAN", group="regulators"),
    },
)


def counts_of(kind: str) -> np.ndarray:
    """The number of words of every image: some have none, and two have an instrument."""
    if kind == "instruments":
        return np.bincount([3, 7], minlength=IMAGES)
    draw = np.random.default_rng(KINDS.index(kind))
    return draw.integers(0, 7, IMAGES) * (1 + (kind == ALL))


def means_of(recipe: str, seed: int, kind: str, measure: str, level: float) -> np.ndarray:
    """The mean of every image, in sixtieths, around a level."""
    draw = np.random.default_rng([len(recipe), seed, KINDS.index(kind), MEASURES.index(measure)])
    return np.rint(60 * np.clip(draw.normal(level, 0.2, IMAGES), 0, 1)) / 60


def line(
    recipe: str, seed: int, weights: str, iou: float, kind: str, *, passed: str = "last"
) -> dict[str, Any]:
    """One line of the record; the first pass and untrained weights lie lower."""
    of_run = weights != UNIFORM
    counts = counts_of(kind)
    level = LEVEL[recipe] if weights == TRAINED else 0.2
    level -= 0.1 * (passed == "first") + (iou - 0.5) / 2
    numbers: dict[str, Any] = dict.fromkeys(attention.CHANCE, 0.2)
    for measure in MEASURES:
        means = means_of(recipe, seed, kind, measure, level)
        numbers[measure] = float((counts * means).sum() / counts.sum())
        main = iou == 0.5
        if (main and kind == ALL) or ((main or kind == ALL) and measure == "pointing"):
            numbers[f"{measure}_images"] = attention.encoded_means(means, counts)
    if kind == ALL:
        falling = np.linspace(level, 0, len(MULTIPLES))
        numbers |= {f"{name}_curve": " ".join(f"{x:.4f}" for x in falling) for name in CURVES}
    if not of_run and (iou == 0.5 or kind == ALL):
        numbers["image_queries"] = attention.encoded_counts(counts)
    return {
        "dataset": "photographs",
        "recipe": recipe if of_run else "",
        "changes": "",
        "seed": seed if of_run else 0,
        "run": f"photographs/{recipe}/{seed}-abc" if of_run else "",
        "commit": "c0082a58b567" if of_run else "",
        "truth": "0123456789abcdef",
        "weights": weights,
        "direction": "t2i",
        "pass": passed,
        "iou": iou,
        "kind": kind,
        "queries": int(counts.sum()),
        "dropped": 20,
        **numbers,
    }


def lines_of(recipe: str, seed: int) -> list[dict[str, Any]]:
    """The lines of one run, and those of uniform weights; the regulator has two passes."""
    places = [(iou, kind) for iou in IOUS for kind in KINDS]
    lines = [line(recipe, seed, w, *place) for w in (TRAINED, UNTRAINED) for place in places]
    lines += [line("chan", 0, UNIFORM, *place) for place in places]
    if recipe == "rcar-t2i":
        lines += [line(recipe, seed, TRAINED, *place, passed="first") for place in places]
    return lines


def write_record(path: Path) -> None:
    """Write the record of three methods with three seeds."""
    for recipe in LEVEL:
        for seed in SEEDS:
            attention.export(lines_of(recipe, seed), path)
