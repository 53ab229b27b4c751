"""Rows of a table compared: means with intervals, gains over a host, what can be said of them.

Everything starts from `results.Results`: rows by name, one result for each seed. Two kinds of
uncertainty are kept apart: the 95 % interval is a bootstrap over test *images* (an image takes
its five captions along) of the mean over seeds; the spread is the standard deviation *between
seeds*. A gain is told from nothing only when it beats both.

Page: every chapter with a table.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_core import retrieval
from itm_core.batch.grids import Grid
from itm_core.results import FAR, Result, Results
from itm_core.tables.run_links import linked

SHOWN = {"rsum": "rSum", "i2t_r1": "image to text R@1", "t2i_r1": "text to image R@1"}
ATTENTION = {
    "t2i_attention_f1": "attention F1 of words",
    "i2t_attention_f1": "attention F1 of regions",
}


def compare(results: Results, grid: Grid | None = None) -> pd.DataFrame:
    """Return one row for each named group of results that differ in their seed alone.

    For every number of `SHOWN`: the mean over seeds, ``_low`` and ``_high`` (95 % bootstrap over
    test images of that mean) and ``_sd`` (spread between seeds); for those of `ATTENTION` mean
    and spread, in percent, NaN where a method does not look that way. Also ``name``, ``group``,
    ``seeds``, ``minutes`` of training for one run, ``device``, ``runs`` and ``recorded``.
    """
    rows = []
    for name, group in results.items():
        limits = retrieval.interval(*(result.hits for result in group))
        row: dict[str, object] = {"name": name, "seeds": len(group)}
        row["group"] = grid.group(name) if grid else ""
        for key in SHOWN:
            row[key], row[f"{key}_sd"] = _mean([result.metrics[key] for result in group])
            row[f"{key}_low"], row[f"{key}_high"] = limits[key]
        for key in ATTENTION:
            row[key], row[f"{key}_sd"] = _mean([100 * r.metrics.get(key, np.nan) for r in group])
        row["minutes"] = np.mean([result.where["minutes"] for result in group])
        row["device"] = group[0].where["device"]
        row["runs"] = [result.run for result in group]
        row["recorded"] = group[0].recorded
        rows.append(row)
    return pd.DataFrame(rows)


def _mean(values: Sequence[float]) -> tuple[float, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    return float(np.mean(values)), spread


def spread(deviation: float) -> str:
    """Return ``± deviation``, or nothing where a single seed has none."""
    return "" if np.isnan(deviation) else f" ± {deviation:.1f}"


def readable(table: pd.DataFrame, name: str = "method", *, attention: bool = True) -> pd.DataFrame:
    """Return the table of `compare` as text: ``mean [low, high] ± spread``, group first.

    Columns of attention are left out where no row attends that way.
    """
    records = table.to_dict("records")
    shown = pd.DataFrame({name: table["name"]})
    for key, title in SHOWN.items():
        shown[title] = [
            f"{r[key]:.1f} [{r[f'{key}_low']:.1f}, {r[f'{key}_high']:.1f}]{spread(r[f'{key}_sd'])}"
            for r in records
        ]
    for key, title in ATTENTION.items() if attention else ():
        if table[key].notna().any():
            shown[title] = [
                "" if np.isnan(r[key]) else f"{r[key]:.1f}{spread(r[f'{key}_sd'])}" for r in records
            ]
    shown["seeds"] = [str(count) for count in table["seeds"]]
    shown["minutes"] = [f"{minutes:.1f}" for minutes in table["minutes"]]
    if table["group"].any() and not (table["group"] == table["name"]).all():
        shown.insert(0, "", table["group"].where(~table["group"].duplicated(), ""))
    return linked(shown, {SHOWN["rsum"]: table["runs"]})


def recall_curves(results: Results) -> dict[str, np.ndarray]:
    """Return Recall@1 to @10 in percent, ``[2, 10]`` (i2t, t2i), the mean over seeds."""
    cuts = np.arange(1, FAR + 1)[:, None]
    return {
        name: 100
        * np.mean(
            [[(ranks < cuts).mean(1) for ranks in (r.ranks.i2t, r.ranks.t2i)] for r in group],
            axis=0,
        )
        for name, group in results.items()
    }


def dots(table: pd.DataFrame, key: str = "rsum") -> pd.DataFrame:
    """Return what `figures.results.intervals` draws of one number of `compare`."""
    limits = {end: table.get(f"{key}_{end}", np.nan) for end in ("low", "high")}
    return table[["name", "group"]].assign(value=table[key], spread=table[f"{key}_sd"], **limits)


def beside(made: Results, recorded: Results) -> pd.DataFrame:
    """Return rows just made beside the recorded ones: R@1 both ways and rSum.

    A row that was not recorded has empty cells there.
    """
    known, here = compare(recorded).set_index("name"), compare(made)
    rows = []
    for row in here.to_dict("records"):
        shown: dict[str, object] = {"method": row["name"]}
        for key, title in SHOWN.items():
            shown[title] = f"{row[key]:.1f}{spread(row[f'{key}_sd'])}"
            there = row["name"] in known.index
            was = known.loc[row["name"]] if there else {}
            shown[f"{title}, recorded"] = (
                f"{was[key]:.1f}{spread(was[f'{key}_sd'])}" if there else ""
            )
        rows.append(shown)
    was = [known["runs"].get(name, []) for name in here["name"]]
    title = SHOWN["rsum"]
    return linked(pd.DataFrame(rows), {title: here["runs"], f"{title}, recorded": was})


# --- gains -------------------------------------------------------------------------------------


def gains(
    results: Results, grid: Grid, key: str = "rsum", *, over: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return what every row gains over its host in one number, on the seeds that both have.

    ``over`` names other rows to compare with than the grid's hosts, row by row.

    Columns: ``name``, ``host``, ``group``, ``seeds``; ``gain`` with ``low``, ``high``, ``p`` and
    ``smallest_gap`` (paired bootstrap over images, `retrieval.gap_between`) and ``spread`` (the
    standard deviation of the gain between seeds); the same gain of attention F1 in points, as
    ``words`` and ``regions`` with ``_spread`` and ``_says`` (by seeds alone); ``says``, see
    `says`; and ``runs``, the row's and then the host's.
    """
    rows = []
    for name, group in results.items():
        host = grid.host(name) if over is None else over.get(name, "")
        pairs = _paired(group, results.get(host, ()))
        if not pairs or host == name:
            continue
        ours, theirs = (np.mean([pair[k].hits for pair in pairs], axis=0) for k in (0, 1))
        found = retrieval.gap_between(ours, theirs).loc[key]
        each = [a.metrics[key] - b.metrics[key] for a, b in pairs]
        row: dict[str, object] = {"name": name, "host": host, "group": grid.group(name)}
        row |= {"seeds": len(pairs), "gain": found["difference"], "spread": _mean(each)[1]}
        row |= {one: found[one] for one in ("low", "high", "p", "smallest_gap")}
        for attention, short in zip(ATTENTION, ("words", "regions"), strict=True):
            nan = float("nan")
            points = [
                100 * (a.metrics.get(attention, nan) - b.metrics.get(attention, nan))
                for a, b in pairs
            ]
            value, deviation = _mean(points)
            row |= {short: value, f"{short}_spread": deviation}
            row[f"{short}_says"] = sure(value, deviation, len(pairs))
        runs = [pair[k].run for k in (0, 1) for pair in pairs]
        rows.append(row | {"says": says(row), "runs": runs})
    return pd.DataFrame(rows)


def _paired(ours: Sequence[Result], theirs: Sequence[Result]) -> list[tuple[Result, Result]]:
    by_seed = {result.seed: result for result in theirs}
    return [(result, by_seed[result.seed]) for result in ours if result.seed in by_seed]


def says(gain: Mapping[str, object]) -> str:
    """Return what a row of `gains` shows: ``gain``, ``loss`` or ``not told apart``.

    A difference counts when its interval over images leaves out zero *and* it is larger than
    twice the standard error of the gain between seeds; with a single seed nothing is told apart.
    """
    value, low, high, deviation, seeds = (
        float(gain[key])  # type: ignore[arg-type]
        for key in ("gain", "low", "high", "spread", "seeds")
    )
    return "not told apart" if low <= 0 <= high else sure(value, deviation, int(seeds))


def sure(value: float, deviation: float, seeds: int) -> str:
    """Return whether a gain is larger than twice its standard error between seeds."""
    if seeds < 2 or np.isnan(value) or abs(value) <= 2 * deviation / np.sqrt(seeds):
        return "not told apart"
    return "gain" if value > 0 else "loss"


def readable_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `gains` as text."""
    rows = []
    for r in table.to_dict("records"):
        row = {"method": r["name"], "over": r["host"], "seeds": str(r["seeds"])}
        row["gain in rSum"] = (
            f"{r['gain']:+.1f} [{r['low']:+.1f}, {r['high']:+.1f}]{spread(r['spread'])}"
        )
        row["p"] = "< 0.001" if r["p"] < 0.001 else f"{r['p']:.3f}"
        row["smallest gap"] = f"{r['smallest_gap']:.1f}"
        for short in ("words", "regions"):
            shown = f"{r[short]:+.1f}{spread(r[f'{short}_spread'])}"
            row[f"attention F1, {short}"] = "" if np.isnan(r[short]) else shown
        rows.append(row | {"says": r["says"]})
    found = pd.DataFrame(rows)
    empty = [name for name in found if str(name).startswith("attention") and not found[name].any()]
    return linked(found.drop(columns=empty), {"gain in rSum": table.get("runs", ())})


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several tables of `gains`, one below the other."""
    return pd.concat(tables, ignore_index=True)


def matrix(table: pd.DataFrame, hosts: Sequence[str], value: str = "gain") -> pd.DataFrame:
    """Return `gains` as hosts by plug-ins, ``value`` in the cells, NaN where there is no run."""
    wide = table.assign(plug=_plugins(table)).pivot(index="host", columns="plug", values=value)
    known = [host for host in hosts if host in wide.index]
    return wide.reindex(index=known, columns=list(dict.fromkeys(_plugins(table))))


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Return for every plug-in on how many hosts it gains, loses, or neither can be told."""
    rows = []
    for plugin, part in table.assign(plugin=_plugins(table)).groupby("plugin", sort=False):
        said = part["says"].value_counts()
        words = part["words_says"].value_counts()
        rows.append(
            {
                "plug-in": plugin,
                "hosts": len(part),
                "gains": said.get("gain", 0),
                "not told apart": said.get("not told apart", 0),
                "losses": said.get("loss", 0),
                "mean gain in rSum": f"{part['gain'].mean():+.1f}",
                "better attention of words": words.get("gain", 0),
                "worse attention of words": words.get("loss", 0),
            }
        )
    return pd.DataFrame(rows)


def _plugins(table: pd.DataFrame) -> list[str]:
    pairs = zip(table["name"], table["host"], strict=True)
    return [name.removeprefix(f"{host} + ") for name, host in pairs]


# --- in words ----------------------------------------------------------------------------------


def verdict(table: pd.DataFrame) -> Markdown:
    """Return what a comparison shows, in words made from its numbers alone.

    The best row of `compare` by rSum is set against each other one; two rows are told apart only
    when their intervals do not overlap and their means lie further apart than the spread between
    seeds.
    """
    ordered = table.sort_values("rsum", ascending=False).to_dict("records")
    top, rest = ordered[0], ordered[1:]
    below = [row["name"] for row in rest if _apart(top, row)]
    level = [row["name"] for row in rest if not _apart(top, row)]
    said = [f"Best here is **{top['name']}** with an rSum of {top['rsum']:.1f}."]
    if level:
        said.append(f"Not told apart from it: {_listed(level)}.")
    if below:
        said.append(f"Clearly below: {_listed(below)}.")
    return Markdown(" ".join(said))


def _listed(names: Sequence[str]) -> str:
    """Return names with commas between them, or semicolons where a name has a comma."""
    return ("; " if any("," in name for name in names) else ", ").join(names)


def _apart(top: Mapping[object, float], row: Mapping[object, float]) -> bool:
    deviation = np.fmax(top["rsum_sd"], row["rsum_sd"])
    beyond = np.isnan(deviation) or top["rsum"] - row["rsum"] > deviation
    return row["rsum_high"] < top["rsum_low"] and bool(beyond)


def claim(
    number: int, text: str, table: pd.DataFrame, rows: Sequence[str], *, of: str = "gain"
) -> dict[str, str]:
    """Return the verdict on a claim that some rows gain over their hosts, with its evidence.

    *holds* when every row of `gains` asked for is a gain, *partly* when some are, *not seen*
    when none is, *contradicted* when none is and some are losses; *not run here* without rows.
    ``of`` is what is gained: ``gain`` (rSum), or attention F1 of ``words`` or ``regions``.
    """
    known = table[table["name"].isin(rows)].dropna(subset=of) if len(table) else table
    said = list(known["says" if of == "gain" else f"{of}_says"]) if len(known) else []
    wins, losses = said.count("gain"), said.count("loss")
    words = "not run here"
    if said:
        words = "holds" if wins == len(said) else "partly" if wins else "not seen"
        words = "contradicted" if losses and not wins else words
    lines = [_evidence(row, of) for row in known.to_dict("records")]
    return {"": str(number), "claim": text, "verdict": words, "evidence": "; ".join(lines)}


def _evidence(row: Mapping[Hashable, Any], of: str) -> str:
    if of == "gain":
        shown = f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]{spread(row['spread'])}"
    else:
        shown = f"{row[of]:+.1f}{spread(row[f'{of}_spread'])} points"
    return f"{row['name']}: {shown}"
