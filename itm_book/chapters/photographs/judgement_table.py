"""How far the runs of a grid order pairs as people do: recorded, and as tables for pages.

``itm results judge`` scores the pairs that people have rated with every run of a grid and writes
``data/results/judgements.csv``: one line for each run (or ensemble) and rank correlation, one for
each paired gap to another run (``against``), and one for the people among themselves. Which
machine made a run, and when, says its line in ``runs.csv``.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_book.chapters.photographs.judgements import (
    MEASURES,
    RESAMPLES,
    Agreement,
    Judgements,
    agreement,
    between_people,
    judged_difference,
    read_expert,
)
from itm_book.records import results
from itm_book.records.grids import Grid
from itm_book.records.results import KEY, Result
from itm_book.tables.comparison import spread
from itm_book.tables.run_links import linked
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from itm_core.evaluation.statistics import sd
from itm_core.files import reading, whole_file
from itm_core.settings import one_of

RECORD = results.RECORD.with_name("judgements.csv")
PEOPLE = "people"  # in the place of a recipe: each person against the others
TAKING = "each"  # every rating is a judgement of its own
NUMBERS = ["measure", "value", "low", "high"]
COLUMNS = [*KEY, "run", "against", *NUMBERS, "taking", "pairs", "images", "annotations"]
MAIN = "tau_c"
TITLES = {MAIN: "tau-c", "tau_b": "tau-b", "spearman": "Spearman's rho"}


def judge(
    grid: Grid,
    size: str,
    annotations: Path | str,
    *,
    data: Path | str = "data",
    root: Path | str = "data/runs",
    over: str = "",
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Return the lines of the record for all finished runs of a grid, ensembles included.

    Args:
        annotations: the expert judgements of Flickr8k, see `judgements.read_expert`.
        data: the folder that holds the datasets' folders.
        over: the row to which every other one has a paired gap, besides that to its host; by
            default the first of the grid.
        resamples: of images, for the intervals.

    The same runs give the same lines, to the bit. Raises `InputError` when the dataset is not
    there, no run is finished, code in no commit made one, or the annotations are of other
    pictures.
    """
    over = over or next(iter(grid.rows))
    one_of(f"row of grid {grid.name}", over, grid.rows)
    found = results.present(grid, size, data=data, root=root)
    if not found:
        remedy = f"itm grid {grid.name} --size {size}"
        raise InputError("no run of this grid is finished", file=Path(root), remedy=remedy)
    results.require_committed_runs(result for group in found.values() for result in group)
    split = load_split(Path(data) / grid.size(size).dataset, "test")
    judged = read_expert(annotations, split)
    common = {"taking": TAKING, "pairs": len(judged.image), "images": len(np.unique(judged.image))}
    common["annotations"] = Path(annotations).name.removesuffix(".gz")
    people = between_people(judged, taking=TAKING, resamples=resamples)
    key = {"dataset": grid.size(size).dataset, "recipe": PEOPLE, "changes": "", "seed": 0}
    lines = [key | {"run": "", "against": ""} | line for line in _measured(people)]
    for name, group in found.items():
        for result in group:
            others = [found.get(other, ()) for other in dict.fromkeys((over, grid.host(name)))]
            same = [one for other in others for one in other if one.seed == result.seed]
            lines += _lines_of(result, same, judged, root, resamples)
    return pd.DataFrame([line | common for line in lines], columns=COLUMNS)


def _lines_of(
    result: Result,
    others: Sequence[Result],
    judged: Judgements,
    root: Path | str,
    resamples: int,
) -> Iterator[dict[str, Any]]:
    options: dict[str, Any] = {"taking": TAKING, "resamples": resamples}
    key = {name: getattr(result, name) for name in [*KEY, "run"]}
    ours = results.scores_of(result, root)
    for line in _measured(agreement(ours, judged, **options)):
        yield key | {"against": ""} | line
    for other in others:
        if other.run != result.run:
            gap = judged_difference(ours, results.scores_of(other, root), judged, **options)
            for line in _measured(gap):
                yield key | {"against": other.run} | line


def _measured(found: Agreement) -> Iterator[dict[str, Any]]:
    for name in MEASURES:
        low, high = found.intervals[name]
        yield {"measure": name, "value": found.values[name], "low": low, "high": high}


def export(lines: pd.DataFrame, path: Path = RECORD) -> int:
    """Write lines of `judge` to the record, in the place of older ones of the same run.

    What the record holds of other runs stays. One file, sorted, written whole or not at all.
    Returns how many runs were written.
    """
    old = _read(path) if path.exists() else lines.iloc[:0]
    fresh = pd.MultiIndex.from_frame(lines[KEY].astype(str))
    kept = old[~pd.MultiIndex.from_frame(old[KEY].astype(str)).isin(fresh)]
    table = pd.concat([part for part in (kept, lines) if len(part)] or [lines])
    table = table.sort_values([*KEY, "against", "measure"])
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    return lines.loc[lines["recipe"] != PEOPLE, KEY].drop_duplicates().shape[0]


def _read(path: Path) -> pd.DataFrame:
    text = dict.fromkeys(["changes", "recipe", "run", "against"], str)
    gaps = {name: [""] for name in NUMBERS[1:]}
    with reading(path):
        table = pd.read_csv(path, dtype=text, keep_default_na=False, na_values=gaps)
    if list(table.columns) != COLUMNS:
        raise InputError("wrong columns", file=path, expected=COLUMNS, found=list(table.columns))
    return table


def recorded(grid: Grid, size: str, *, path: Path = RECORD) -> pd.DataFrame:
    """Return what the record has of a grid's rows and ensembles at a size, in their order.

    The columns of the record, and ``name``, ``group`` and ``host`` of the row, and ``over``: the
    row that ``against`` is of. The people's lines have the name `PEOPLE`. Raises `InputError`
    when there is nothing.
    """
    at = grid.size(size)
    known = _read(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    names = {said: name for name, said in results.keys_of(grid, at).items()}
    names[PEOPLE, ""] = PEOPLE
    pairs = zip(known["recipe"], known["changes"], strict=True)
    known = known.assign(name=[names.get(pair, "") for pair in pairs])
    wanted = known["seed"].isin(at.seeds) | (known["name"] == PEOPLE)
    known = known[(known["dataset"] == at.dataset) & wanted & (known["name"] != "")]
    if not len(known):
        remedy = f"itm results judge {grid.name} --size {size} --annotations FILE"
        raise InputError(f"no judgement is recorded on {at.dataset}", file=path, remedy=remedy)
    runs = dict(zip(known["run"], known["name"], strict=True)) | {"": ""}
    order = {name: k for k, name in enumerate(names.values())}
    return known.assign(
        group=known["name"].map(grid.group),
        host=known["name"].map(grid.host),
        over=[runs.get(run, "gone") for run in known["against"]],
    ).sort_values("name", key=lambda column: column.map(order), kind="stable")


def compare(found: pd.DataFrame, measure: str = MAIN) -> pd.DataFrame:
    """Return one row for each method of `recorded`: how far it orders pairs as people do.

    Columns as `figures.results.intervals` draws them: ``name``, ``group``, ``value``, ``low``,
    ``high``, ``spread``, and ``runs``. Over several seeds the mean, and the mean of the ends of
    their intervals, which is no narrower than the interval of the mean.
    """
    return _of_methods(found[found["over"] == ""], measure)


def gaps(found: pd.DataFrame, over: str = "", measure: str = MAIN) -> pd.DataFrame:
    """Return how much better rows agree with people than the row ``over``, as `compare` does.

    Without ``over`` every row is set against its host, where it has one.
    """
    other = over if over else found["host"]
    return _of_methods(found[(found["over"] != "") & (found["over"] == other)], measure)


def _of_methods(chosen: pd.DataFrame, measure: str) -> pd.DataFrame:
    one_of("measure", measure, MEASURES)
    chosen = chosen[(chosen["name"] != PEOPLE) & (chosen["measure"] == measure)]
    table = chosen.groupby(["name", "group", "over"], sort=False, as_index=False).agg(
        value=("value", "mean"),
        low=("low", "mean"),
        high=("high", "mean"),
        spread=("value", sd),
        runs=("run", list),
    )
    return table


def people(found: pd.DataFrame, measure: str = MAIN) -> float:
    """Return how far a person's ratings agree with those of each other one, on average."""
    line = found[(found["name"] == PEOPLE) & (found["measure"] == measure)]
    return float(line["value"].mean())


def readable(found: pd.DataFrame, over: str) -> pd.DataFrame:
    """Return the table of `recorded` as text: every measure, and the gap of the main one.

    The last row is the people's. ``value [95 % interval] ± spread between seeds``.
    """
    measured = {measure: compare(found, measure) for measure in MEASURES}
    first = measured[MAIN]
    shown = pd.DataFrame({"method": [*first["name"], "one person, against the others"]})
    for measure, title in TITLES.items():
        lines = found[(found["name"] == PEOPLE) & (found["measure"] == measure)]
        ours = pd.concat([measured[measure], lines.assign(spread=np.nan)])
        shown[title] = [_text(row) for row in ours.to_dict("records")]
    for title, gap in ((f"tau-c over {over}", gaps(found, over)), ("over its host", gaps(found))):
        texts = {row["name"]: _text(row, "+") for row in gap.to_dict("records")}
        if texts:
            shown[title] = [texts.get(name, "") for name in shown["method"]]
    return linked(shown, {TITLES[MAIN]: [*map(results.as_recorded, first["runs"]), []]})


def _text(row: Mapping[Hashable, Any], sign: str = "") -> str:
    value, low, high = (f"{100 * row[key]:{sign}.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{spread(100 * row['spread'])}"


def status(found: pd.DataFrame) -> str:
    """Return what a table's caption says of the pairs that were judged."""
    first = found.iloc[0]
    seeds = found.loc[found["name"] != PEOPLE].groupby("name")["seed"].nunique().max()
    return (
        f"{first['pairs']} pairs of {first['images']} test images of {first['dataset']} "
        f"({first['annotations']}), {seeds} seed{'s' if seeds > 1 else ''}, recorded"
    )
