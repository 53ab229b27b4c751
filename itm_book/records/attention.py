"""The record of attention against people's boxes, ``data/results/attention.csv``.

``itm results attention`` writes it, see `attention_runs`. One line is one direction (``t2i``:
words are queries, ``i2t``: regions) of a run's attention in one pass, at one IoU, over the
queries of one type of phrase (``kind``; ``all`` for all of them):

* ``weights``: those of the ``trained`` run, of the same recipe and seed ``untrained``, or
  ``uniform``. Uniform weights are of no run: their lines have no recipe, and are the chance level
  of every measure;
* ``pass``: the ``last`` pass of attention, or the ``first`` where there are several;
* ``truth``: a hash of the annotation (`truth_of`), so that lines of different annotations are
  never compared; ``commit``: of the run;
* ``queries``: how many were averaged; ``dropped``: how many have no relevant key at this IoU;
* the measures, in 0..1, of `attention_measures.QueryMeasures`, and its curves (for ``all``) as
  numbers separated by blanks.

For intervals and paired tests there is information about every image. ``image_queries``, in lines
of uniform weights, has two digits of base 61 for each image of the split: its number of queries.
``<measure>_images`` has one digit for each image with queries: the mean of the measure over them,
in sixtieths. The queries of a split depend on the annotation alone, so the lines of all runs list
the same images. Lines at an IoU of one half have these for pointing, and for ``all`` for all
measures; other lines for pointing and ``all`` alone.

Page: "What attention metrics can and cannot say"; "Real photographs".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from io import StringIO
from pathlib import Path
from string import ascii_letters, digits
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records import results
from itm_book.records.grids import Grid, Size
from itm_book.records.record_files import (
    ANY,
    SEED,
    SHARE,
    Form,
    changing,
    record_text,
    write_record,
)
from itm_core.data.annotations import objects_file, words_file
from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import CURVES
from itm_core.evaluation.attention_quality import annotation
from itm_core.files import reading

RECORD = results.RECORD.with_name("attention.csv")
TRAINED, UNTRAINED, UNIFORM = "trained", "untrained", "uniform"
ALL = "all"  # types of phrases
IOUS = (0.3, 0.5, 0.7)
MAIN_IOU = 0.5
MEASURES = ("precision", "recall", "f1", "mass", "average_precision", "pointing")
CHANCE = ("chance", "chance_recall", "chance_f1")
POINTING = "pointing"
DIGITS = digits + ascii_letters[:51]  # 0 to 60: one half, a third, ... a sixth are exact
KEY = [*results.KEY, "weights", "direction", "pass", "iou", "kind"]
TEXT = [
    *("dataset", "recipe", "changes", "run", "commit", "truth"),
    *("weights", "direction", "pass", "kind", "image_queries"),
    *(f"{name}_curve" for name in CURVES),
    *(f"{name}_images" for name in MEASURES),
]
COLUMNS = [
    *(*results.KEY, "run", "commit", "truth"),
    *("weights", "direction", "pass", "iou", "kind", "queries", "dropped"),
    *(*MEASURES, *CHANCE),
    *(f"{name}_curve" for name in CURVES),
    *("image_queries", *(f"{name}_images" for name in MEASURES)),
]
FORM = Form(
    columns=COLUMNS,
    key=KEY,
    ranges={"seed": SEED, "queries": ANY, "dropped": ANY}
    | dict.fromkeys(("iou", *MEASURES, *CHANCE), SHARE),
)


def truth_of(split: Split) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a split's annotation.

    Of the files of its words and objects, and of how much the boxes of the regions overlap with
    what words name: the mean to three decimals. So it is the same for regions that were made on
    another processor, whose boxes differ by a ten thousandth of a pixel, or rarely in order.
    """
    digest = hashlib.sha256()
    for path in (words_file(split), objects_file(split)):
        with reading(path):
            digest.update(path.read_bytes())
    if (annotated := annotation(split)) is not None:
        overlaps = zip(annotated.overlap, annotated.naming, strict=True)
        named = np.concatenate([overlap[names] for overlap, names in overlaps])
        digest.update(f"{named.mean() if named.size else 0:.3f}".encode())
    return digest.hexdigest()[:16]


# --- information about images --------------------------------------------------------------------


def encoded_counts(counts: np.ndarray) -> str:
    """Return numbers of queries ``[I]`` as text.

    >>> encoded_counts(np.array([0, 5, 61]))
    '000510'
    """
    base = len(DIGITS)
    return "".join(DIGITS[n // base] + DIGITS[n % base] for n in counts.tolist())


def encoded_means(means: np.ndarray, counts: np.ndarray) -> str:
    """Return the means of a measure ``[I]`` as text, of the images that have queries.

    >>> encoded_means(np.array([np.nan, 0.5, 1.0]), np.array([0, 2, 1]))
    'uY'
    """
    steps = np.rint((len(DIGITS) - 1) * means[counts > 0]).astype(int)
    return "".join(DIGITS[step] for step in steps.tolist())


def counts_of(text: str) -> np.ndarray:
    """Return the numbers of queries ``[I]`` of `encoded_counts`."""
    places = np.array([DIGITS.index(digit) for digit in text], int).reshape(-1, 2)
    return places @ np.array([len(DIGITS), 1])


def means_of(text: str, counts: np.ndarray) -> np.ndarray:
    """Return the means ``[I]`` of `encoded_means`, to 1 / 120; zero for an image without queries.

    Raises `InputError` where the text is of other images than the counts.
    """
    if len(text) != int((counts > 0).sum()):
        raise InputError(
            "the lines of a run and of uniform weights are of different images",
            expected=f"{int((counts > 0).sum())} images",
            found=len(text),
            remedy="measure the runs again: itm results attention GRID --size SIZE",
        )
    means = np.zeros(len(counts))
    means[counts > 0] = [DIGITS.index(digit) / (len(DIGITS) - 1) for digit in text]
    return means


# --- the file ------------------------------------------------------------------------------------


def read(path: Path = RECORD) -> pd.DataFrame:
    """Return all lines of the record; none where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS)
    return _read(path, path.stat().st_mtime_ns).copy()


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> pd.DataFrame:
    """Return the lines of the record; ``changed`` is the file's time of change."""
    text = StringIO(record_text(path, FORM))
    return pd.read_csv(text, dtype=dict.fromkeys(TEXT, str), keep_default_na=False)


def export(
    lines: Sequence[Mapping[str, Any]],
    path: Path = RECORD,
    *,
    again: Iterable[tuple[str, str, int]] = (),
) -> None:
    """Write lines of a dataset to the record, in the place of all older lines of the same runs.

    Lines of uniform weights replace those of their dataset and direction. The file is sorted
    and written atomically. Raises `InputError`, and writes nothing, as `require_same_annotation`
    does: another command may have written lines since it was called.

    Args:
        again: recipe, changes and seed of the other runs whose lines are replaced after these.
    """
    new = pd.DataFrame(list(lines), columns=COLUMNS)
    owner = [*results.KEY, "direction"]  # of uniform weights, the recipe and changes are empty
    fresh = pd.MultiIndex.from_frame(new[owner].astype(str))
    replaced = {(line["recipe"], line["changes"], line["seed"]) for line in lines} | {*again}
    with changing(path):
        require_same_annotation(lines[0]["dataset"], lines[0]["truth"], replaced, path)
        old = read(path)
        others = old[~pd.MultiIndex.from_frame(old[owner].astype(str)).isin(fresh)]
        table = pd.concat([part for part in (others, new) if len(part)] or [new])
        write_record(table.sort_values(KEY), path, FORM, digits=6)


def recorded(grid: Grid, size: str | Size, *, path: Path = RECORD) -> pd.DataFrame:
    """Return the lines of a grid's rows at a size, ordered by `Grid.by_group`.

    Columns: those of the record, and ``name``, ``group`` and ``host`` of the row. Lines of
    uniform weights have the name `UNIFORM`. Ensembles have no attention. ``size`` may be one of
    another grid, as in `results.recorded`.

    Raises `InputError` when there are none, or lines of different annotations.
    """
    at = size if isinstance(size, Size) else grid.size(size)
    lines = read(path)
    keys = results.keys_of(grid, at)
    names = {keys[name]: name for name in grid.rows} | {("", ""): UNIFORM}
    pairs = zip(lines["recipe"], lines["changes"], strict=True)
    lines = lines.assign(name=[names.get(pair, "") for pair in pairs])
    wanted = lines["seed"].isin(at.seeds) | (lines["name"] == UNIFORM)
    lines = lines[(lines["dataset"] == at.dataset) & wanted & (lines["name"] != "")]
    if not (lines["name"] != UNIFORM).any():
        raise InputError(
            f"no attention of grid {grid.name} is recorded on {at.dataset}",
            file=path,
            remedy=f"itm results attention {grid.name} --size SIZE",
        )
    _require_one_truth(lines, path)
    order = {name: k for k, name in enumerate([UNIFORM, *grid.by_group(grid.rows)])}
    return lines.assign(
        group=lines["name"].map(grid.group), host=lines["name"].map(grid.host)
    ).sort_values("name", key=lambda column: column.map(order), kind="stable")


def _require_one_truth(lines: pd.DataFrame, path: Path) -> None:
    runs = lines.groupby("truth")["name"].unique()
    if len(runs) > 1:
        raise InputError(
            "lines of different annotations cannot be compared",
            file=path,
            found="; ".join(f"{truth}: {', '.join(names)}" for truth, names in runs.items()),
            remedy="measure all runs again (itm results attention GRID --size SIZE), or remove "
            "the lines of runs that no longer exist",
        )


def require_same_annotation(
    dataset: str, truth: str, measured: Iterable[tuple[str, str, int]], path: Path = RECORD
) -> None:
    """Raise `InputError` where lines of other runs stay that were measured on another annotation.

    Args:
        dataset: the dataset's name.
        truth: the hash of its annotation, `truth_of`.
        measured: recipe, changes and seed of the runs whose lines are replaced.
    """
    lines = read(path)
    lines = lines[(lines["dataset"] == dataset) & (lines["truth"] != truth) & (lines["run"] != "")]
    replaced, runs = {*measured}, zip(lines["recipe"], lines["changes"], lines["seed"], strict=True)
    others = lines[np.array([run not in replaced for run in runs], bool)]
    if len(others):
        raise InputError(
            f"recorded runs on {dataset} were measured on another annotation, and could not be "
            f"compared with these: {others['run'].nunique()}",
            file=path,
            expected=f"words, boxes of people and of regions with hash {others['truth'].iloc[0]}",
            found=truth,
            remedy="measure on the files with which the record was made, or all of its runs again",
        )


def measured_runs(path: Path = RECORD) -> set[tuple[str, str, str]]:
    """Return the runs that are in the record, each with its commit and annotation."""
    lines = read(path)
    columns: Iterable[Any] = (lines["run"], lines["commit"], lines["truth"])
    return {(run, commit, truth) for run, commit, truth in zip(*columns, strict=True) if run}
