"""The recorded benchmarks: ``data/results/bench_<kind>.csv``, with machine, versions and commit.

Absolute times depend on the machine; ratios of interleaved timings carry over to another one. So
`regressions` compares ratios only.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from itm_book.bench.gpu_checks import Check
from itm_book.bench.growth import ScalingPoint
from itm_book.bench.methods import METHODS
from itm_book.bench.scoring import ScoringSettings, ScoringTiming
from itm_book.bench.training import NEGATIVES, RECIPES, StepTiming
from itm_book.records.commits import require_committed
from itm_book.records.record_files import Form, changing, record_text, write_record
from itm_book.shipped import shipped
from itm_book.tables.run_links import marked
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.files import reading

FOLDER = shipped("results")
KINDS = ("scoring", "growth", "training", "steps", "gpu")
SIZE = ["images", "captions", "width", "similarity"]
SCORING_SETUP = [*SIZE, "device", "precision", "machine"]
STEP_SETUP = ["batch", "device", "precision", "machine"]
KEYS = {
    "scoring": ["method", *SCORING_SETUP],
    "growth": ["method", "images", "captions", "device", "machine"],
    "training": ["recipe", "negatives", *STEP_SETUP],
    "steps": ["recipe", "negatives", "batch", "precision"],
    "gpu": ["check", "device", "machine"],
}
COMMANDS = {"steps": "python -m tests.pretend_steps --record"}  # others: `itm bench KIND --record`
ALLOWED = 1.5  # a speed-up may be lower than the recorded one by this factor: timings are noisy


def form(kind: str) -> Form:
    """Return what the rows of the record of a kind must be."""
    return Form(columns=[*KEYS[kind], "commit"], exact=False, key=KEYS[kind])


def scoring_rows(timings: Iterable[ScoringTiming], settings: ScoringSettings) -> pd.DataFrame:
    """Return a row per method: its timing, floor, ratios, and the environment."""
    size = {name: getattr(settings, name) for name in SIZE}
    rows = [
        asdict(timing)
        | size
        | {
            "floor": timing.floor,
            "times_reference": timing.reference / timing.ours,
            "times_bare": timing.ours / timing.bare,
            "times_floor": timing.ours / timing.floor,
            "precision": settings.precision,
        }
        | _environment(settings.device)
        for timing in timings
    ]
    return pd.DataFrame(rows)


def growth_rows(points: Iterable[ScalingPoint], device: str) -> pd.DataFrame:
    """Return a row per method and number of images, with the environment."""
    return pd.DataFrame([asdict(point) | _environment(device) for point in points])


def training_rows(timings: Iterable[StepTiming], device: str) -> pd.DataFrame:
    """Return a row per recipe and kind of negatives, with the environment."""
    return pd.DataFrame([asdict(timing) | _environment(device) for timing in timings])


def check_rows(checks: Iterable[Check], device: str) -> pd.DataFrame:
    """Return a row per check of a GPU, with the environment."""
    return pd.DataFrame([asdict(check) | _environment(device) for check in checks])


def _environment(device: str) -> dict[str, Any]:
    environment = describe(pick_device(device))
    packages = environment["packages"]
    assert isinstance(packages, Mapping)
    return {
        "device": environment["device"],
        "machine": environment["device_name"],
        "threads": torch.get_num_threads(),
        "torch": packages["torch"],
        "commit": environment["commit"] or "",
        "made": str(environment["started"])[:10],
    }


def save(kind: str, rows: pd.DataFrame, folder: Path = FOLDER) -> Path:
    """Add rows to the record of a kind, replacing older rows of the same key; return its path.

    Raises `InputError`, and writes nothing, unless every row was made by committed code.
    """
    for commit in rows["commit"]:
        require_committed(commit)
    path = folder / f"bench_{kind}.csv"
    with changing(path):
        parts = [read(kind, folder), rows] if path.exists() else [rows]
        table = pd.concat(parts, ignore_index=True)
        table = table.drop_duplicates(KEYS[kind], keep="last").sort_values(KEYS[kind])
        write_record(table, path, form(kind), digits=6)
    return path


def read(kind: str, folder: Path = FOLDER) -> pd.DataFrame:
    """Return the record of a kind, one of `KINDS`.

    Raises `InputError` when it does not exist, cannot be read, or lacks a column.
    """
    path = folder / f"bench_{kind}.csv"
    empty = {"energy": [""], "compiled": [""]}
    command = COMMANDS.get(kind, f"itm bench {kind} --record")
    with reading(path, "no record", command):
        path.stat()
    text = StringIO(record_text(path, form(kind)))
    return pd.read_csv(text, dtype={"commit": str}, keep_default_na=False, na_values=empty)


def read_any(kind: str, folder: Path = FOLDER) -> pd.DataFrame:
    """Return what `read` does; no rows where nothing of the kind is recorded yet."""
    if not (folder / f"bench_{kind}.csv").exists():
        return pd.DataFrame(columns=list(form(kind).columns))
    return read(kind, folder)


def at(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the scoring rows with these values, from the machine that was recorded last.

    Raises `InputError` when there are none.
    """
    return _ordered(_last_machine(rows, SCORING_SETUP, values), "method", METHODS)


def training_at(rows: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the training rows with these values, from the machine that was recorded last.

    Raises `InputError` when there are none.
    """
    return _ordered(_last_machine(rows, STEP_SETUP, values), "recipe", RECIPES)


def _last_machine(rows: pd.DataFrame, setup: list[str], values: Mapping[str, Any]) -> pd.DataFrame:
    for name, value in values.items():
        rows = rows[rows[name] == value]
    if rows.empty:
        expected = ", ".join(f"{name} {value}" for name, value in values.items())
        raise InputError("nothing of this kind is recorded", expected=expected, found="no row")
    last = rows.sort_values("made", kind="stable").iloc[-1]
    return rows[(rows[setup] == last[setup]).all(axis=1)]


def _ordered(rows: pd.DataFrame, column: str, names: Iterable[str]) -> pd.DataFrame:
    order = {name: place for place, name in enumerate(names)}
    rows = rows.sort_values(column, key=lambda values: values.map(order), kind="stable")
    return rows.reset_index(drop=True)


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return scoring rows formatted for display: seconds, then ratios."""
    columns: dict[str, Any] = {
        "method": rows["method"],
        "MFLOP a pair": rows["flops"].map(lambda v: f"{v / 1e6:.2f}"),
        "ours, s": rows["ours"].map("{:.3f}".format),
        "loop, s": rows["reference"].map("{:.3f}".format),
        "floor, s": rows["floor"].map("{:.3f}".format),
        "x the loop's speed": rows["times_reference"].map("{:.1f}".format),
        "x the bare product's time": rows["times_bare"].map("{:.2f}".format),
        "x the floor": rows["times_floor"].map("{:.2f}".format),
        "time in products": rows["products"].map("{:.0%}".format),
        "largest difference": rows["error"].map("{:.0e}".format),
    }
    energy = rows["energy"]
    if energy.notna().any():
        columns["joules"] = energy.map(lambda v: "" if pd.isna(v) else f"{v:.0f}")
    return marked(pd.DataFrame(columns), "ours, s", rows["commit"])


def eager_and_compiled(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the methods that were also timed compiled: both times in seconds, and the ratio."""
    rows = rows[rows["compiled"].notna()]
    table = pd.DataFrame(
        {
            "method": rows["method"],
            "as written, s": rows["ours"].map("{:.3f}".format),
            "compiled, s": rows["compiled"].map("{:.3f}".format),
            "faster by": (rows["ours"] / rows["compiled"]).map("{:.2f} x".format),
        }
    )
    return marked(table, "as written, s", rows["commit"])


def by_precision(recorded: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the speed of every recorded precision, for the methods, size and machine of ``rows``.

    Precisions are timed in separate calls, so each is given relative to the float32 loop that was
    interleaved with it.
    """
    first = rows.iloc[0]
    setup = [*SIZE, "device", "machine"]
    comparable = recorded[(recorded[setup] == first[setup]).all(axis=1)]
    ratios = comparable.pivot_table("times_reference", "method", "precision")
    ratios = ratios.reindex(rows["method"]).dropna()
    table = ratios.map("{:.1f}".format).add_suffix(", x the loop's speed").reset_index()
    for precision in ratios:
        latest = comparable[comparable["precision"] == precision]
        latest = latest.drop_duplicates("method", keep="last")
        commits = latest.set_index("method")["commit"].reindex(table["method"])
        table = marked(table, f"{precision}, x the loop's speed", commits)
    return table


def readable_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `training_at` formatted for display: a row per recipe.

    Cells of a kind of negatives that is not recorded are empty.
    """
    names = rows["recipe"].unique()
    shared = rows.groupby("recipe")[["before", "tile"]].max().reindex(names)
    columns: dict[str, Any] = {"recipe": pd.Series(names, index=names)}
    commits = {}
    for value, unit in (("seconds", "a step, s"), ("peak", "peak, GiB")):
        for kind in NEGATIVES:
            of_kind = rows[rows["negatives"] == kind].set_index("recipe").reindex(names)
            title = f"{kind} negatives: {unit}"
            columns[title] = of_kind[value].map("{:.2f}".format, na_action="ignore")
            commits[title] = of_kind["commit"]
    columns["before, GiB"] = shared["before"].map("{:.2f}".format)
    columns["tile, million floats"] = (shared["tile"] / 1e6).map("{:.1f}".format)
    table = pd.DataFrame(columns).fillna("").reset_index(drop=True)
    for title, column_commits in commits.items():
        table = marked(table, title, column_commits)
    return table


def readable_steps(rows: pd.DataFrame, limit: float) -> pd.DataFrame:
    """Return peak memory and waits of steps on the pretend accelerator, formatted for display.

    ``rows`` are those that ``python -m tests.pretend_steps`` records, ``limit`` in GiB. One row
    that says *not run* where there are none.
    """
    if rows.empty:
        return pd.DataFrame([{"recipe": "all", "peak, GiB": "not run"}])
    columns = {
        "recipe": rows["recipe"],
        "negatives": rows["negatives"],
        "pairs": rows["batch"],
        "peak, GiB": rows["peak"].map("{:.2f}".format),
        "before, GiB": rows["before"].map("{:.2f}".format),
        f"at most {limit:.0f} GiB": ["yes" if peak <= limit else "no" for peak in rows["peak"]],
        "waits": rows["waits"],
        "what it waits for": rows["waits_for"],
    }
    return marked(pd.DataFrame(columns), "peak, GiB", rows["commit"])


def scoring_caption(rows: pd.DataFrame) -> str:
    """Return the caption of a table of scoring rows: sizes, machine, versions, date."""
    row = rows.iloc[0]
    return (
        f"{row['images']} images x {row['captions']} captions, D = {row['width']}, "
        f"K = {row['similarity']}, {row['precision']}; {_machine(row)}"
    )


def training_caption(rows: pd.DataFrame) -> str:
    """Return the caption of a table of training steps: size, machine, versions, date."""
    row = rows.iloc[0]
    return f"Steps of {row['batch']} pairs, {row['precision']}; {_machine(row)}"


def _machine(row: pd.Series) -> str:
    return (
        f"{row['machine']} ({row['device']}, {row['threads']} threads), torch {row['torch']}, "
        f"{row['made']}"
    )


def regressions(fresh: pd.DataFrame, recorded: pd.DataFrame, allowed: float = ALLOWED) -> list[str]:
    """Return a sentence for each method that has become slower relative to its reference.

    Runs of the same size, device and precision are compared, on any machine. A method is slower
    when its speed-up is below the lowest recorded one divided by ``allowed``. Methods without a
    record are skipped; raises `InputError` where none has one.
    """
    setup = ["method", *SIZE, "device", "precision"]
    lowest = recorded.groupby(setup)["times_reference"].min()
    rows = fresh.to_dict("records")
    before = [lowest.get(tuple(row[name] for name in setup)) for row in rows]
    compared = [(row, speed) for row, speed in zip(rows, before, strict=True) if speed is not None]
    if not compared:
        raise InputError(
            "nothing was compared: no row of this size, device and precision is recorded",
            found=", ".join(f"{name} {rows[0][name]}" for name in setup[1:]),
            remedy="itm bench scoring --record, with the same options, records one",
        )
    return [
        f"{row['method']}: {row['times_reference']:.1f} x the speed of its reference, "
        f"recorded: {speed:.1f} x"
        for row, speed in compared
        if row["times_reference"] < speed / allowed
    ]
