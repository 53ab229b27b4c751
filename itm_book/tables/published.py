"""Published numbers with their sources, and their agreement with recorded runs.

Page: every chapter with published numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records import results
from itm_book.records.grids import Grid
from itm_book.records.results import Result
from itm_book.shipped import shipped
from itm_book.tables import labels
from itm_book.tables.labels import GAIN, LOSS
from itm_book.tables.notes import noted
from itm_book.tables.run_links import linked
from itm_core.errors import InputError
from itm_core.evaluation import retrieval, statistics
from itm_core.files import read_csv

FOLDER = shipped("published")
RECALLS = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]
COLUMNS = ["paper", "table", "dataset", "split", "method", "host", "direction_or_module"]
TOLERANCE = 0.15  # more than this between the printed rSum and its parts has to be explained
_UNROUNDED = "0.2 off: perhaps the sum of recalls before rounding (which explains up to 0.35)"
# (file, method, dataset, split): why the printed rSum is not the sum of the printed recalls.
# The rows are kept as their sources print them.
MISPRINTS = {
    ("anchors", "ESL-H", "MSCOCO", "1K test (5-fold mean)"): _UNROUNDED,
    ("anchors", "AAHR", "MSCOCO", "5K test"): _UNROUNDED,
    ("anchors", "HREM + VSD (second variant, dagger)", "MSCOCO", "5K test"): _UNROUNDED,
    ("anchors", "USER", "MSCOCO", "1K test (5-fold mean)"): (
        "a misprint of the quoting table: the recalls add up to 533.6, it prints 534.2"
    ),
}


def load(folder: Path = FOLDER) -> pd.DataFrame:
    """Return every published number: the columns of the tables, and ``file``.

    Recalls are percent. Raises `InputError` when a table is missing, a recall lies outside
    0..100, a row has no number or no source, or rSum is not the sum of its parts and no known
    misprint.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise InputError(
            "the published numbers are missing",
            file=folder,
            remedy="install the package again; they come with it",
        )
    return pd.concat([_table(path) for path in paths], ignore_index=True)


def _table(path: Path) -> pd.DataFrame:
    table = read_csv(path)
    wanted = [*COLUMNS, *RECALLS, "rsum", "source"]
    if list(table.columns) != wanted:
        raise InputError("wrong columns", file=path, expected=wanted, found=list(table.columns))
    for name in [*RECALLS, "rsum"]:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError(f"{name} holds something that is no number", file=path)
    for row, values in enumerate(table.to_dict("records"), 2):
        _check(path, row, {str(name): value for name, value in values.items()})
    return table.assign(file=path.stem)


def _check(path: Path, row: int, values: dict[str, Any]) -> None:
    recalls = [values[name] for name in RECALLS]
    printed = [r for r in recalls if not pd.isna(r)]
    if not printed:
        raise InputError("a row without a recall", file=path, row=row)
    if any(not 0 <= r <= 100 for r in printed):
        raise InputError("a recall outside 0..100", file=path, row=row, found=recalls)
    if not isinstance(values["source"], str) or not values["source"].strip():
        raise InputError("a number without a source", file=path, row=row)
    off = round(abs(sum(recalls) - values["rsum"]), 3)  # NaN where a number was not printed
    key = tuple([path.stem] + [values[name] for name in ("method", "dataset", "split")])
    if off > TOLERANCE and key not in MISPRINTS:
        raise InputError(
            "rSum is not the sum of its parts",
            file=path,
            row=row,
            expected=round(sum(recalls), 1),
            found=values["rsum"],
        )


def rows(
    *, method: str | None = None, dataset: str | None = None, file: str | None = None
) -> pd.DataFrame:
    """Return the published rows of a method, a dataset or a file, in the order of the file."""
    table = load()
    for column, wanted in (("method", method), ("dataset", dataset), ("file", file)):
        if wanted is not None:
            table = table[table[column] == wanted]
    return table.reset_index(drop=True)


def named(table: pd.DataFrame, names: Iterable[tuple[str, ...]]) -> pd.DataFrame:
    """Return the first published row of each name, in the order of the names.

    A name is texts of a row, such as ``("SCAN", "i-t AVG")``, see `with_ours`. Raises `InputError`
    for a name that no row has.
    """
    texts = [set(row) for row in table[["method", "host", "direction_or_module"]].to_numpy()]
    places = []
    for name in names:
        found = [k for k, of_row in enumerate(texts) if of_row.issuperset(name)]
        if not found:
            raise InputError("no published row has this name", found=", ".join(name))
        places.append(found[0])
    return table.iloc[places].reset_index(drop=True)


READABLE = {
    "dataset": "dataset",
    "split": "split",
    "method": "method",
    "direction_or_module": "variant",
    **{name: name.replace("_r", " R@") for name in RECALLS},
    "rsum": "rSum",
}


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return published rows as a table for a page, with the source as note of the first recall.

    Empty columns are left out, and a dataset or split common to all rows, which is in the caption.
    """
    shown = table[list(READABLE)].rename(columns=READABLE).dropna(axis="columns", how="all")
    shown = shown.drop(columns=[c for c in ("dataset", "split") if table[c].nunique() == 1])
    first = next(title for title in map(READABLE.__getitem__, RECALLS) if title in shown)
    shown = noted(shown, {first: sources(table)})
    return shown


def sources(table: pd.DataFrame) -> list[str]:
    """Return the source of each row: paper, table and reference."""
    return [
        ", ".join(part for part in (r["paper"], r["table"], r["source"]) if isinstance(part, str))
        for r in table.to_dict("records")
    ]


# --- agreement with recorded runs --------------------------------------------------------------

OURS = {"Flickr30K": "f30k_precomp", "MSCOCO": "coco_precomp"}  # folders of the datasets
# Runs do not record a mean over five folds, so such rows are not compared.
IMAGES = {"1K test": 1000, "test 1K": 1000, "5K test": 5000}
NOT_RUN = "not run here"


def status(row: Mapping[Any, Any], results: Sequence[Result]) -> str:
    """Return the agreement of recorded results, one per seed, with a published row of the method.

    ``below`` or ``above`` where the runs lie significantly below or above the published rSum, over
    images and, as one more run, over seeds. Without a printed rSum the recalls are tested,
    corrected by Holm's method. Else ``agrees``; with a single seed ``not testable``; ``not run
    here`` without a result on that dataset with the same number of test images.
    """
    folder, images = OURS.get(row["dataset"]), IMAGES.get(row["split"])
    candidates = [r for r in results if r.dataset == folder and len(r.ranks.i2t) == images]
    if not candidates:
        return NOT_RUN
    names = [n for n in (RECALLS if pd.isna(row["rsum"]) else ["rsum"]) if not pd.isna(row[n])]
    gaps, p = zip(*(_differs(name, float(row[name]), candidates) for name in names), strict=True)
    effects = labels.effects(gaps, p)
    if set(effects) <= {labels.UNTESTABLE}:
        return labels.UNTESTABLE
    off = [gap for gap, effect in zip(gaps, effects, strict=True) if effect in (GAIN, LOSS)]
    return "agrees" if not off else "above" if sum(off) > 0 else "below"


def _differs(name: str, published: float, results: Sequence[Result]) -> tuple[float, float]:
    """Return the mean minus a published number, and its p value over images and seeds."""
    values = [result.metrics[name] for result in results]
    gap = float(np.mean(values)) - published
    at = retrieval.NUMBERS.index(name)
    hits = np.mean([result.hits[:, [at]] for result in results], axis=0)
    images = statistics.image_p(statistics.bootstrap_means(hits) - published)
    return gap, labels.combined_p(float(images[0]), statistics.one_more_p(published, values))


def with_ours(
    table: pd.DataFrame,
    grid: Grid,
    ours: Mapping[tuple[str, ...], str],
    *,
    size: str = "photographs",
    record: Path = results.RECORD,
) -> pd.DataFrame:
    """Return published rows for a page, with host and the `status` of the recorded runs.

    ``ours`` maps texts of a published row (method, host, variant), such as
    ``("SCAN", "i-t AVG")``, to the row of the grid that it is compared with. Without a record
    every row is `NOT_RUN`.

    Raises `InputError` for a damaged record.
    """
    recorded = results.recorded_so_far(grid, size, path=record) if record.exists() else {}
    statuses: list[str] = []
    runs: list[list[str]] = []
    for row in table.to_dict("records"):
        of_row = {row[name] for name in ("method", "host", "direction_or_module")}
        names = [name for texts, name in ours.items() if of_row.issuperset(texts)]
        group = recorded.get(names[0], []) if names else []
        statuses.append(status(row, group))
        runs.append([] if statuses[-1] == NOT_RUN else [result.run for result in group])
    shown = readable(table)
    if set(statuses) != {NOT_RUN}:
        shown = linked(shown.assign(here=statuses), {"here": runs})
    shown.insert(list(shown).index("method") + 1, "built on", table["host"])
    return shown.drop(columns="method") if table["method"].nunique() == 1 else shown
