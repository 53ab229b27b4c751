"""The recorded benchmarks: ``data/results/bench_<kind>.csv``, with machine, versions and commit.

Seconds belong to a machine; ratios between things that were timed in turn travel. So the check
compares ratios alone.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from itm_book.bench.growth import ScalingPoint
from itm_book.bench.methods import METHODS
from itm_book.bench.scoring import Asked, ScoringTiming
from itm_book.bench.training import NEGATIVES, RECIPES, StepTiming
from itm_book.records.commits import require_committed
from itm_book.shipped import shipped
from itm_book.tables.run_links import marked
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.files import reading, whole_file

FOLDER = shipped("results")
KINDS = ("scoring", "growth", "training")
SIZE = ["images", "captions", "width", "similarity"]
RACE = [*SIZE, "device", "precision", "machine"]
STEP = ["batch", "device", "precision", "machine"]
KEYS = {
    "scoring": ["method", *RACE],
    "growth": ["method", "images", "captions", "device", "machine"],
    "training": ["recipe", "negatives", *STEP],
}
ALLOWED = 1.5  # a ratio may be this much worse than the recorded one: timings are noisy


def scoring_rows(raced: Iterable[ScoringTiming], asked: Asked) -> pd.DataFrame:
    """Return a line for each method, with its floor and ratios, and where it was made."""
    size = {name: getattr(asked, name) for name in SIZE}
    rows = [
        asdict(one)
        | size
        | {"floor": one.floor, "times_twin": one.twin / one.ours, "times_bare": one.ours / one.bare}
        | {"times_floor": one.ours / one.floor, "precision": asked.precision}
        | _where(asked.device)
        for one in raced
    ]
    return pd.DataFrame(rows)


def growth_rows(grown: Iterable[ScalingPoint], device: str) -> pd.DataFrame:
    """Return a line for each method and size of the gallery, and where it was made."""
    return pd.DataFrame([asdict(one) | _where(device) for one in grown])


def training_rows(stepped: Iterable[StepTiming], device: str) -> pd.DataFrame:
    """Return a line for each recipe and kind of negatives, and where it was made."""
    return pd.DataFrame([asdict(one) | _where(device) for one in stepped])


def _where(device: str) -> dict[str, Any]:
    known = describe(pick_device(device))
    packages = known["packages"]
    assert isinstance(packages, Mapping)
    return {
        "device": known["device"],
        "machine": known["device_name"],
        "threads": torch.get_num_threads(),
        "torch": packages["torch"],
        "commit": known["commit"] or "",
        "made": str(known["started"])[:10],
    }


def save(kind: str, rows: pd.DataFrame, folder: Path = FOLDER) -> Path:
    """Add rows to the record of a kind, in the place of older ones of the same key.

    Raises `InputError`, and writes nothing, unless code in a commit made every row.
    """
    for commit in rows["commit"]:
        require_committed(commit)
    path = folder / f"bench_{kind}.csv"
    parts = [read(kind, folder), rows] if path.exists() else [rows]
    table = pd.concat(parts, ignore_index=True)
    table = table.drop_duplicates(KEYS[kind], keep="last").sort_values(KEYS[kind])
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    return path


def read(kind: str, folder: Path = FOLDER) -> pd.DataFrame:
    """Return the record of a kind.

    Raises `InputError` when there is none, it may not be read, or it is not one of ours.
    """
    path = folder / f"bench_{kind}.csv"
    empty = {"energy": [""], "compiled": [""]}
    with reading(path, "no record", f"itm bench {kind} --record"):
        table = pd.read_csv(path, dtype={"commit": str}, keep_default_na=False, na_values=empty)
    missing = [name for name in (*KEYS[kind], "commit") if name not in table]
    if missing:
        raise InputError("columns are missing", file=path, expected=", ".join(missing))
    return table


def at(rows: pd.DataFrame, **chosen: Any) -> pd.DataFrame:
    """Return the rows of a race with these values, of the machine that was last recorded alone.

    Raises `InputError` when there are none.
    """
    return _ordered(_last(rows, RACE, chosen), "method", METHODS)


def training_at(rows: pd.DataFrame, **chosen: Any) -> pd.DataFrame:
    """Return the rows of training steps with these values, as `at` does those of a race."""
    return _ordered(_last(rows, STEP, chosen), "recipe", RECIPES)


def _last(rows: pd.DataFrame, same: list[str], chosen: Mapping[str, Any]) -> pd.DataFrame:
    for name, value in chosen.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        asked = ", ".join(f"{name} {value}" for name, value in chosen.items())
        raise InputError("nothing of this kind is recorded", expected=asked, found="no row")
    last = rows.sort_values("made", kind="stable").iloc[-1]
    return rows[(rows[same] == last[same]).all(axis=1)]


def _ordered(rows: pd.DataFrame, column: str, names: Iterable[str]) -> pd.DataFrame:
    order = {name: place for place, name in enumerate(names)}
    rows = rows.sort_values(column, key=lambda found: found.map(order), kind="stable")
    return rows.reset_index(drop=True)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a race as text, ratios beside seconds."""
    columns: dict[str, Any] = {
        "method": rows["method"],
        "MFLOP a pair": rows["flops"].map(lambda v: f"{v / 1e6:.2f}"),
        "ours, s": rows["ours"].map("{:.3f}".format),
        "loop, s": rows["twin"].map("{:.3f}".format),
        "floor, s": rows["floor"].map("{:.3f}".format),
        "x the loop's speed": rows["times_twin"].map("{:.1f}".format),
        "x the bare product's time": rows["times_bare"].map("{:.2f}".format),
        "x the floor": rows["times_floor"].map("{:.2f}".format),
        "time in products": rows["products"].map("{:.0%}".format),
        "largest difference": rows["error"].map("{:.0e}".format),
    }
    spent = rows["energy"]
    if spent.notna().any():
        columns["joules"] = spent.map(lambda v: "" if pd.isna(v) else f"{v:.0f}")
    return marked(pd.DataFrame(columns), "ours, s", rows["commit"])


def beside_compiled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the methods of a race that ran compiled too, both in seconds."""
    rows = rows[rows["compiled"].notna()]
    shown = pd.DataFrame(
        {
            "method": rows["method"],
            "as written, s": rows["ours"].map("{:.3f}".format),
            "compiled, s": rows["compiled"].map("{:.3f}".format),
            "faster by": (rows["ours"] / rows["compiled"]).map("{:.2f} x".format),
        }
    )
    return marked(shown, "as written, s", rows["commit"])


def by_precision(recorded: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the speed of every recorded precision, of the methods, size and machine of ``rows``.

    Races of different precisions ran one after the other, so each stands beside the loop, always
    float32, that ran in turn with it.
    """
    one = rows.iloc[0]
    same = [*SIZE, "device", "machine"]
    here = recorded[(recorded[same] == one[same]).all(axis=1)]
    table = here.pivot_table("times_twin", "method", "precision").reindex(rows["method"]).dropna()
    shown = table.map("{:.1f}".format).add_suffix(", x the loop's speed").reset_index()
    for precision in table:
        raced = here[here["precision"] == precision].drop_duplicates("method", keep="last")
        commits = raced.set_index("method")["commit"].reindex(shown["method"])
        shown = marked(shown, f"{precision}, x the loop's speed", commits)
    return shown


def readable_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `training_at` as text: a line for each recipe, both kinds side by side.

    A kind that is not recorded leaves its cells empty.
    """
    names = rows["recipe"].unique()
    both = rows.groupby("recipe")[["before", "tile"]].max().reindex(names)
    columns: dict[str, Any] = {"recipe": pd.Series(names, index=names)}
    commits = {}
    for value, unit in (("seconds", "a step, s"), ("peak", "peak, GiB")):
        for kind in NEGATIVES:
            own = rows[rows["negatives"] == kind].set_index("recipe").reindex(names)
            title = f"{kind} negatives: {unit}"
            columns[title] = own[value].map("{:.2f}".format, na_action="ignore")
            commits[title] = own["commit"]
    columns["before, GiB"] = both["before"].map("{:.2f}".format)
    columns["tile, million floats"] = (both["tile"] / 1e6).map("{:.1f}".format)
    shown = pd.DataFrame(columns).fillna("").reset_index(drop=True)
    for title, made_by in commits.items():
        shown = marked(shown, title, made_by)
    return shown


def status(rows: pd.DataFrame) -> str:
    """Return what a caption says of a race: sizes, machine, versions, day."""
    one = rows.iloc[0]
    return (
        f"{one['images']} images x {one['captions']} captions, D = {one['width']}, "
        f"K = {one['similarity']}, {one['precision']}; {_made(one)}"
    )


def training_status(rows: pd.DataFrame) -> str:
    """Return what a caption says of training steps: size, machine, versions, day."""
    one = rows.iloc[0]
    return f"Steps of {one['batch']} pairs, {one['precision']}; {_made(one)}"


def _made(one: pd.Series) -> str:
    return (
        f"{one['machine']} ({one['device']}, {one['threads']} threads), torch {one['torch']}, "
        f"{one['made']}"
    )


def regressions(fresh: pd.DataFrame, recorded: pd.DataFrame, allowed: float = ALLOWED) -> list[str]:
    """Return a sentence for each method whose ratio to its twin is worse than any record of it.

    Compared are runs of the same size, device and precision, whatever the machine; the lowest
    recorded ratio counts, less what is ``allowed``. Methods without a record are passed over.
    """
    same = ["method", *SIZE, "device", "precision"]
    known = recorded.groupby(same)["times_twin"].min()
    found = []
    for row in fresh.to_dict("records"):
        before = known.get(tuple(row[name] for name in same))
        if before is not None and row["times_twin"] < before / allowed:
            found.append(
                f"{row['method']}: {row['times_twin']:.1f} x its twin's speed, "
                f"recorded were {before:.1f} x"
            )
    return found
