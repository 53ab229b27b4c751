"""Agreement of recorded runs with people's ratings, and its tables.

``itm results judge`` scores the rated pairs with every run of a grid and writes
``data/results/judgements.csv``: one line per run (or ensemble) and rank correlation, one per
paired difference to another run (``against``), and one for agreement between people. The machine
and date of a run are in ``runs.csv``.

Page: "Real photographs".
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from io import StringIO
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
from itm_book.records.record_files import ANY, SEED, Form, changing, record_text, write_record
from itm_book.records.results import KEY, Result
from itm_book.tables.comparison import spread
from itm_book.tables.notes import with_note
from itm_book.tables.run_links import linked
from itm_core.data.dataset import load_split
from itm_core.errors import InputError
from itm_core.evaluation.statistics import sd
from itm_core.settings import one_of

RECORD = results.RECORD.with_name("judgements.csv")
PEOPLE = "people"  # as recipe: each person against the others
TAKING = "each"  # every rating is a separate judgement
NUMBERS = ["measure", "value", "low", "high"]
COLUMNS = [*KEY, "run", "against", *NUMBERS, "taking", "pairs", "images", "annotations"]
FORM = Form(
    columns=COLUMNS,
    key=[*KEY, "against", "measure"],
    ranges={"seed": SEED, "pairs": ANY, "images": ANY} | dict.fromkeys(NUMBERS[1:], (-2, 2)),
    gaps=NUMBERS[1:],
)
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
        over: the row to which every other one has a paired difference, besides its host; by
            default the first of the grid.
        resamples: of images, for the intervals.

    Deterministic. Raises `InputError` when the dataset is missing, no run is finished, a run was
    made by uncommitted code, or the annotations are of other pictures.
    """
    over = over or next(iter(grid.rows))
    one_of(f"row of grid {grid.name}", over, grid.rows)
    finished = results.present(grid, size, data=data, root=root)
    if not finished:
        remedy = f"itm grid {grid.name} --size {size}"
        raise InputError("no run of this grid is finished", file=Path(root), remedy=remedy)
    results.require_committed_runs(result for group in finished.values() for result in group)
    split = load_split(Path(data) / grid.size(size).dataset, "test")
    judged = read_expert(annotations, split)
    common = {"taking": TAKING, "pairs": len(judged.image), "images": len(np.unique(judged.image))}
    common["annotations"] = Path(annotations).name.removesuffix(".gz")
    people = between_people(judged, taking=TAKING, resamples=resamples)
    key = {"dataset": grid.size(size).dataset, "recipe": PEOPLE, "changes": "", "seed": 0}
    lines = [key | {"run": "", "against": ""} | line for line in _measured(people)]
    for name, group in finished.items():
        for result in group:
            others = [finished.get(other, ()) for other in dict.fromkeys((over, grid.host(name)))]
            same_seed = [r for other in others for r in other if r.seed == result.seed]
            lines += _lines_of(result, same_seed, judged, root, resamples)
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
    scores = results.scores_of(result, root)
    for line in _measured(agreement(scores, judged, **options)):
        yield key | {"against": ""} | line
    for other in others:
        if other.run != result.run:
            other_scores = results.scores_of(other, root)
            difference = judged_difference(scores, other_scores, judged, **options)
            for line in _measured(difference):
                yield key | {"against": other.run} | line


def _measured(agreed: Agreement) -> Iterator[dict[str, Any]]:
    for name in MEASURES:
        low, high = agreed.intervals[name]
        yield {"measure": name, "value": agreed.values[name], "low": low, "high": high}


def export(lines: pd.DataFrame, path: Path = RECORD) -> int:
    """Write lines of `judge` to the record and return the number of runs written.

    Replaces older lines of the same runs and keeps those of others. The file is sorted and
    written atomically.
    """
    fresh = pd.MultiIndex.from_frame(lines[KEY].astype(str))
    with changing(path):
        old = _read(path) if path.exists() else lines.iloc[:0]
        others = old[~pd.MultiIndex.from_frame(old[KEY].astype(str)).isin(fresh)]
        table = pd.concat([part for part in (others, lines) if len(part)] or [lines])
        table = table.sort_values([*KEY, "against", "measure"])
        write_record(table, path, FORM, digits=6)
    return lines.loc[lines["recipe"] != PEOPLE, KEY].drop_duplicates().shape[0]


def _read(path: Path) -> pd.DataFrame:
    text = dict.fromkeys(["changes", "recipe", "run", "against"], str)
    gaps = {name: [""] for name in NUMBERS[1:]}
    return pd.read_csv(
        StringIO(record_text(path, FORM)), dtype=text, keep_default_na=False, na_values=gaps
    )


def recorded(grid: Grid, size: str, *, path: Path = RECORD) -> pd.DataFrame:
    """Return the lines of a grid's rows and ensembles at a size, ordered by `Grid.by_group`.

    Columns: those of the record, ``name``, ``group`` and ``host`` of the row, and ``over``: the
    row of ``against``. Lines of people have the name `PEOPLE`. Without a line where no row of the
    grid is judged at this size.
    """
    at = grid.size(size)
    lines = _read(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    names = {key: name for name, key in results.keys_of(grid, at).items()}
    names[PEOPLE, ""] = PEOPLE
    keys = zip(lines["recipe"], lines["changes"], strict=True)
    lines = lines.assign(name=[names.get(key, "") for key in keys])
    wanted = lines["seed"].isin(at.seeds) | (lines["name"] == PEOPLE)
    lines = lines[(lines["dataset"] == at.dataset) & wanted & (lines["name"] != "")]
    runs = dict(zip(lines["run"], lines["name"], strict=True)) | {"": ""}
    order = {name: k for k, name in enumerate(names.values())}
    return lines.assign(
        group=lines["name"].map(grid.group),
        host=lines["name"].map(grid.host),
        over=[runs.get(run, "gone") for run in lines["against"]],
    ).sort_values("name", key=lambda column: column.map(order), kind="stable")


def compare(lines: pd.DataFrame, measure: str = MAIN) -> pd.DataFrame:
    """Return the agreement with people of each method of `recorded`, a row each.

    Columns as for `method_charts.intervals`: ``name``, ``group``, ``value``, ``low``, ``high``,
    ``spread``, and ``seeds`` and ``runs``. Over several seeds the mean, and the mean of the ends of
    their intervals, which is at least as wide as the interval of the mean.
    """
    return _of_methods(lines[lines["over"] == ""], measure)


def differences(lines: pd.DataFrame, over: str = "", measure: str = MAIN) -> pd.DataFrame:
    """Return the difference in agreement of each row to the row ``over``, as `compare` does.

    Without ``over`` to its host, where it has one. Only of seeds of which the difference is
    recorded; ``own`` and ``other`` are the means of both on these seeds.
    """
    plain = lines[(lines["over"] == "") & (lines["measure"] == measure)]
    values = dict(zip(plain["run"], plain["value"], strict=True))
    chosen = _compared(lines, over)
    sides = {"own": chosen["run"].map(values), "other": chosen["against"].map(values)}
    return _of_methods(chosen.assign(**sides), measure, tuple(sides))


def _compared(lines: pd.DataFrame, over: str) -> pd.DataFrame:
    """Return the lines of differences to the row ``over``, or of each row to its host."""
    return lines[(lines["over"] != "") & (lines["over"] == (over or lines["host"]))]


def _of_methods(lines: pd.DataFrame, measure: str, also: Sequence[str] = ()) -> pd.DataFrame:
    one_of("measure", measure, MEASURES)
    lines = lines[(lines["name"] != PEOPLE) & (lines["measure"] == measure)]
    return lines.groupby(["name", "group", "over"], sort=False, as_index=False).agg(
        value=("value", "mean"),
        low=("low", "mean"),
        high=("high", "mean"),
        spread=("value", sd),
        seeds=("seed", "nunique"),
        runs=("run", list),
        **{name: (name, "mean") for name in also},
    )


def people(lines: pd.DataFrame, measure: str = MAIN) -> float:
    """Return the mean agreement of one person's ratings with the others'."""
    of_people = lines[(lines["name"] == PEOPLE) & (lines["measure"] == measure)]
    return float(of_people["value"].mean())


def readable(lines: pd.DataFrame, over: str) -> pd.DataFrame:
    """Return the table of `recorded` as text: all measures, and differences of the main one.

    The last row is of the people. ``value [95 % interval] ± SD over seeds``; behind a difference
    the means of both on the seeds of which the difference is recorded.
    """
    measured = {measure: compare(lines, measure) for measure in MEASURES}
    first = measured[MAIN]
    shown = pd.DataFrame({"method": [*first["name"], "one person against the others"]})
    for measure, title in TITLES.items():
        of_people = lines[(lines["name"] == PEOPLE) & (lines["measure"] == measure)]
        rows = pd.concat([measured[measure], of_people.assign(spread=np.nan)])
        shown[title] = [_text(row) for row in rows.to_dict("records")]
    shown["seeds"] = [*map(str, first["seeds"]), ""]
    for title, other in {f"tau-c over {over}": over, "over its host": ""}.items():
        texts = _differences(lines, other)
        if texts:
            shown[title] = [texts.get(name, "") for name in shown["method"]]
    return linked(shown, {TITLES[MAIN]: [*map(results.as_recorded, first["runs"]), []]})


def _differences(lines: pd.DataFrame, over: str) -> dict[str, str]:
    """Return the cells of `differences` by method; seeds without a difference are noted."""
    rows = {row["name"]: row for row in differences(lines, over).to_dict("records")}
    judged = lines[(lines["over"] == "") & (lines["measure"] == MAIN)]
    seeds = judged.groupby("name")["seed"].agg(set).to_dict()
    compared = _compared(lines, over).groupby("name")["seed"].agg(set).to_dict()
    cells = {}
    for name, row in rows.items():
        own, theirs = (f"{100 * row[side]:.1f}" for side in ("own", "other"))
        few = f"{row['seeds']} of " * (row["seeds"] < len(seeds[name]))
        count = len(seeds[name])
        several = f"{few}{count} seed{'s' if count > 1 else ''}"
        text = f"{_text(row, '+')} ({own} and {theirs}, {several})"
        missing = ", ".join(map(str, sorted(seeds[name] - compared[name])))
        note = f"no difference is recorded with seed {missing}" * bool(missing)
        cells[name] = with_note(text, note)
    return cells


def _text(row: Mapping[Hashable, Any], sign: str = "") -> str:
    value, low, high = (f"{100 * row[key]:{sign}.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{spread(100 * row['spread'])}"


def status(lines: pd.DataFrame) -> str:
    """Return the judged pairs, dataset and seeds, for a caption."""
    first = lines.iloc[0]
    counts = lines.loc[lines["name"] != PEOPLE].groupby("name")["seed"].nunique()
    seeds = f"{counts.min()} to {counts.max()}" if counts.nunique() > 1 else f"{counts.max()}"
    return (
        f"{first['pairs']} pairs of {first['images']} test images of {first['dataset']} "
        f"({first['annotations']}), {seeds} seed{'s' if counts.max() > 1 else ''}, recorded"
    )
