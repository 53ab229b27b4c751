"""Rows of a table compared: means with intervals, and what each row gains over its host.

Everything starts from `results.Results`: rows by name, one result for each seed. Two kinds of
uncertainty are kept apart: the 95 % interval is a bootstrap over test *images* (an image takes
its captions along) of the mean over seeds; the spread is the standard deviation *between
seeds*. A gain is significant only when both tests say so; `evaluation.statistics` has
the rule, and `verdicts` puts it into words.

Page: every chapter with a table.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records import rounding
from itm_book.records.grids import Grid
from itm_book.records.results import MAX_RANK, Result, Results
from itm_book.tables.report import Note, noted
from itm_book.tables.run_links import linked, uncommitted
from itm_core.evaluation import retrieval, statistics

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
    return float(np.mean(values)), statistics.sd(values)


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
    cuts = np.arange(1, MAX_RANK + 1)[:, None]
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

    The second column says whether the fresh rSums lie where the recorded seeds and rounding let
    expect one more run (`rounding.outside`). A row that was not recorded has empty cells there.
    """
    known, here = compare(recorded).set_index("name"), compare(made)
    rows = []
    for row in here.to_dict("records"):
        shown: dict[str, object] = {"method": row["name"]}
        shown["as expected"] = _as_expected(made[row["name"]], recorded.get(row["name"], ()))
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


def _as_expected(fresh: Sequence[Result], recorded: Sequence[Result]) -> str:
    """Return ``yes``, or ``no`` with how many of several fresh runs lie outside."""
    values = [result.metrics["rsum"] for result in recorded]
    if not values:
        return ""
    known = rounding.spread_of(recorded[0].recipe)
    if len(values) == 1 and known is None:
        return "unknown: one seed"
    beyond = sum(rounding.outside(r.metrics["rsum"], values, known) for r in fresh)
    if not beyond:
        return "yes"
    return "no" if len(fresh) == 1 else f"no: {beyond} of {len(fresh)} outside"


# --- gains -------------------------------------------------------------------------------------


def gains(
    results: Results,
    grid: Grid,
    key: str = "rsum",
    *,
    over: Mapping[str, str] | None = None,
    floor: float | None = None,
) -> pd.DataFrame:
    """Return what every row gains over its host in one number, on the seeds that both have.

    ``over`` names other rows to compare with than the grid's hosts, row by row; ``floor`` is the
    smallest spread between seeds that is believed (`statistics.over_seeds`), by default what
    rounding alone gives rSum at this budget (`rounding.gain_floor`).

    Columns: ``name``, ``host``, ``group``; ``gain``, ``low`` and ``high`` (paired bootstrap over
    images, `retrieval.paired_bootstrap`); the columns of `over_seeds` for the gain between seeds;
    ``p_images``, ``p_seeds`` and ``p``, the larger of the two, which decides; ``says``, one of
    `statistics.EFFECTS`; ``runs``, the row's and then the host's. The same gain of attention F1
    in points, by seeds alone, as ``words`` and ``regions``, see `measured`.
    """
    rows = []
    for name, group in results.items():
        host = grid.host(name) if over is None else over.get(name, "")
        pairs = paired(group, results.get(host, ()))
        if not pairs or host == name:
            continue
        row: dict[str, object] = {"name": name, "host": host, "group": grid.group(name)}
        row |= _gain(pairs, key, believed(*pairs[0], key) if floor is None else floor)
        for attention, short in zip(ATTENTION, ("words", "regions"), strict=True):
            points = [
                100 * (a.metrics.get(attention, np.nan) - b.metrics.get(attention, np.nan))
                for a, b in pairs
            ]
            row |= measured(short, points)
        rows.append(row | {"runs": [pair[k].run for k in (0, 1) for pair in pairs]})
    return pd.DataFrame(rows)


def believed(ours: Result, theirs: Result, key: str = "rsum") -> float:
    """Return the smallest spread of a gain between seeds that is believed; 0 if not measured."""
    return rounding.gain_floor(ours.recipe, ours.run, theirs.run) if key == "rsum" else 0.0


def paired(ours: Sequence[Result], theirs: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Return the results of two rows seed by seed, for the seeds that both have."""
    by_seed = {result.seed: result for result in theirs}
    return [(result, by_seed[result.seed]) for result in ours if result.seed in by_seed]


def _gain(pairs: Sequence[tuple[Result, Result]], key: str, floor: float) -> dict[str, object]:
    """Return the columns of `gains` that say what is gained in ``key`` and how sure that is."""
    ours, theirs = (np.mean([pair[k].hits for pair in pairs], axis=0) for k in (0, 1))
    images = retrieval.paired_bootstrap(ours, theirs).to_dict("index")[key]
    seeds = statistics.over_seeds([a.metrics[key] - b.metrics[key] for a, b in pairs], floor=floor)
    gain, p = images["difference"], statistics.combined_p(images["p"], seeds.p)
    return {
        "gain": gain,
        "low": images["low"],
        "high": images["high"],
        **_over_seeds(gain, seeds),
        "p_images": images["p"],
        "p_seeds": seeds.p,
        "p": p,
        "says": statistics.effect(gain, p),
    }


def _over_seeds(gain: float, seeds: statistics.OverSeeds) -> dict[str, object]:
    """Return ``seeds``, ``spread``, ``seeds_low``, ``seeds_high``, ``detectable``, ``needed``.

    The number of seeds; the standard deviation of the gain between them; the 95 % interval of its
    mean over seeds; the gain that so many seeds show in 8 of 10 cases; and how many seeds would
    show a gain as large as this one (NaN: more than `statistics.MAX_SEEDS`).
    """
    return {
        "seeds": seeds.count,
        "spread": seeds.sd,
        "seeds_low": gain - seeds.half,
        "seeds_high": gain + seeds.half,
        "detectable": seeds.detectable,
        "needed": np.nan if seeds.needed is None else float(seeds.needed),
    }


def measured(name: str, differences: Sequence[float] | np.ndarray) -> dict[str, object]:
    """Return a gain that the record holds without images, one difference a seed: seeds decide.

    Columns: ``name``, the mean, and ``name_spread``, ``name_p``, ``name_detectable`` and
    ``name_says``. All numbers are NaN where one of the two rows has no such measure.
    """
    seeds = statistics.over_seeds(differences)
    return {
        name: seeds.mean,
        f"{name}_spread": seeds.sd,
        f"{name}_p": seeds.p,
        f"{name}_detectable": seeds.detectable,
        f"{name}_says": statistics.effect(seeds.mean, seeds.p),
    }


def p_value(p: float) -> str:
    """Return a p value as text; nothing where there was no test.

    >>> p_value(0.0004), p_value(0.0312), p_value(float("nan"))
    ('< 0.001', '0.031', '')
    """
    return "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def readable_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `gains` as text; its one p value is the one that decides."""
    rows = []
    for r in table.to_dict("records"):
        row = {"method": r["name"], "over": r["host"], "seeds": str(r["seeds"])}
        row["gain in rSum"] = (
            f"{r['gain']:+.1f} [{r['low']:+.1f}, {r['high']:+.1f}]{spread(r['spread'])}"
        )
        row["p"] = p_value(r["p"])
        row["says"] = r["says"]
        row["detectable gain"] = _number(r["detectable"])
        row["seeds needed"] = needed(r)
        for short in ("words", "regions"):
            shown = f"{r[short]:+.1f}{spread(r[f'{short}_spread'])}"
            row[f"attention F1, {short}"] = "" if np.isnan(r[short]) else shown
        rows.append(row)
    found = pd.DataFrame(rows)
    optional = ("p", "detectable gain", "seeds needed")
    empty = [c for c in found if str(c).startswith(("attention", *optional)) and not found[c].any()]
    return linked(found.drop(columns=empty), {"gain in rSum": table.get("runs", ())})


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.1f}"


def needed(row: Mapping[Hashable, Any]) -> str:
    """Return how many seeds would show the gain of a row of `gains` that is not significant."""
    if row["says"] != statistics.NO_EFFECT:
        return ""
    many = np.isnan(row["needed"])
    return f"> {statistics.MAX_SEEDS}" if many else f"{row['needed']:.0f}"


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several tables of `gains`, one below the other."""
    return pd.concat(tables, ignore_index=True)


def matrix(table: pd.DataFrame, hosts: Sequence[str], value: str = "gain") -> pd.DataFrame:
    """Return `gains` as hosts by plug-ins, ``value`` in the cells, NaN where there is no run."""
    wide = table.assign(plug=_plugins(table)).pivot(index="host", columns="plug", values=value)
    known = [host for host in hosts if host in wide.index]
    return wide.reindex(index=known, columns=list(dict.fromkeys(_plugins(table))))


def tally(table: pd.DataFrame) -> pd.DataFrame:
    """Return for every plug-in on how many hosts it gains, loses, or nothing is significant."""
    rows, notes = [], []
    for plugin, part in table.assign(plugin=_plugins(table)).groupby("plugin", sort=False):
        said = part["says"].value_counts()
        words = part["words_says"].value_counts()
        rows.append(
            {
                "plug-in": plugin,
                "hosts": len(part),
                "gains": said.get(statistics.GAIN, 0),
                "losses": said.get(statistics.LOSS, 0),
                "not significant": said.get(statistics.NO_EFFECT, 0),
                "not testable": said.get(statistics.UNTESTABLE, 0),
                "mean gain in rSum": f"{part['gain'].mean():+.1f}",
                "better attention of words": words.get(statistics.GAIN, 0),
                "worse attention of words": words.get(statistics.LOSS, 0),
            }
        )
        notes.append(Note(uncommitted=uncommitted(part["runs"])))
    found = noted(pd.DataFrame(rows), {"mean gain in rSum": notes})
    return found if found["not testable"].any() else found.drop(columns="not testable")


def _plugins(table: pd.DataFrame) -> list[str]:
    pairs = zip(table["name"], table["host"], strict=True)
    return [name.removeprefix(f"{host} + ") for name, host in pairs]
