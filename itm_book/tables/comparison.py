"""Rows of a table compared: means with intervals, and gains over the host.

The input is `results.Results`: rows by name, one result per seed. There are two uncertainties:
the 95 % interval is a bootstrap over test *images* (each with its captions) of the mean over
seeds; the spread is the standard deviation *between seeds*. A gain is significant only if both
tests are; see `evaluation.statistics`.

Page: every chapter with a table.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from itm_book.records import rounding
from itm_book.records.grids import Grid
from itm_book.records.results import Result, Results
from itm_book.records.run_rows import MAX_RANK
from itm_book.tables import labels
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.evaluation import retrieval, statistics
from itm_core.experiments.methods import DEFAULT_PROFILE

SHOWN = {"rsum": "rSum", "i2t_r1": "image to text R@1", "t2i_r1": "text to image R@1"}
ATTENTION = {
    "t2i_attention_f1": "attention F1, word queries",
    "i2t_attention_f1": "attention F1, region queries",
}
ATTENTION_TITLES = dict(zip(("words", "regions"), ATTENTION.values(), strict=True))


def compare(results: Results, grid: Grid | None = None) -> pd.DataFrame:
    """Return one row per named group of results that differ only in their seed.

    For every number of `SHOWN`: the mean over seeds, ``_low`` and ``_high`` (95 % bootstrap over
    test images of that mean) and ``_sd`` (SD over seeds); for those of `ATTENTION` mean
    and spread, in percent, NaN where a method does not attend in that direction. Also ``name``,
    ``group``, ``seeds``, ``minutes`` of training for one run, ``device``, ``runs`` and
    ``recorded``.
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
    """Return the table of `compare` as text: ``mean [low, high] ± SD``, group first.

    Columns of attention are left out where no row attends in that direction; seeds and minutes
    are behind the table's switch.
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
    return behind_switch(linked(shown, {SHOWN["rsum"]: table["runs"]}), ["seeds", "minutes"])


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
    """Return one number of `compare` as the rows of `method_charts.intervals`."""
    limits = {end: table.get(f"{key}_{end}", np.nan) for end in ("low", "high")}
    return table[["name", "group"]].assign(value=table[key], spread=table[f"{key}_sd"], **limits)


def trained_and_recorded(trained: Results, recorded: Results) -> pd.DataFrame:
    """Return R@1 in both directions and rSum of runs made for a page, and of the recorded ones.

    ``as expected``: whether each rSum lies where one more run is expected, given the recorded
    seeds and rounding (`rounding.outside`). Cells of a row without a record are empty.
    """
    records, fresh = compare(recorded).set_index("name"), compare(trained)
    rows = []
    for row in fresh.to_dict("records"):
        shown: dict[str, object] = {"method": row["name"]}
        shown["as expected"] = _as_expected(trained[row["name"]], recorded.get(row["name"], ()))
        for key, title in SHOWN.items():
            shown[title] = f"{row[key]:.1f}{spread(row[f'{key}_sd'])}"
            shown[f"{title}, recorded"] = ""
            if row["name"] in records.index:
                record = records.loc[row["name"]]
                shown[f"{title}, recorded"] = f"{record[key]:.1f}{spread(record[f'{key}_sd'])}"
        rows.append(shown)
    recorded_runs = [records["runs"].get(name, []) for name in fresh["name"]]
    title = SHOWN["rsum"]
    return linked(pd.DataFrame(rows), {title: fresh["runs"], f"{title}, recorded": recorded_runs})


def _as_expected(fresh: Sequence[Result], recorded: Sequence[Result]) -> str:
    """Return ``yes``, or ``no`` where a fresh run is outside; of several runs also how many."""
    values = [result.metrics["rsum"] for result in recorded]
    if not values:
        return ""
    spread_of_rounding = rounding.spread_of(recorded[0].recipe)
    if len(values) == 1 and spread_of_rounding is None:
        return "unknown: one seed"
    outside = sum(rounding.outside(r.metrics["rsum"], values, spread_of_rounding) for r in fresh)
    if len(fresh) == 1:
        return "no" if outside else "yes"
    return f"no: {outside} of {len(fresh)} runs" if outside else f"yes: {len(fresh)} runs"


# --- gains -------------------------------------------------------------------------------------


def gains(
    results: Results,
    grid: Grid,
    key: str = "rsum",
    *,
    over: Mapping[str, str] | None = None,
    floor: float | None = None,
) -> pd.DataFrame:
    """Return the gain of every row over its host in one number, on the seeds that both have.

    ``over`` maps rows to others than the grid's hosts; ``floor`` is a lower bound of the spread
    between seeds (`statistics.over_seeds`), by default the SD of rSum by rounding alone at
    this budget (`rounding.gain_floor`).

    Raises `InputError` where ``over`` has a name that the grid lacks.

    Columns: ``name``, ``host``, ``group``; ``gain``, ``low`` and ``high`` (paired bootstrap over
    images, `retrieval.paired_bootstrap`); the columns of `over_seeds` for the gain between seeds;
    ``p_images``, ``p_seeds`` and ``p``, the larger of the two; ``effect``, one of
    `labels.EFFECTS`; ``runs``, the row's and then the host's. The gain of attention F1 in
    points, tested over seeds, as ``words`` and ``regions``, see `gain_over_seeds`; NaN for hard
    over soft attention, see `hard_and_soft`.
    """
    rows, hosts = [], grid.hosts(over)
    for name, group in results.items():
        host = hosts.get(name, "")
        pairs = paired(group, results.get(host, ()))
        if not pairs or host == name:
            continue
        row: dict[str, object] = {"name": name, "host": host, "group": grid.group(name)}
        row |= _gain(pairs, key, spread_floor(*pairs[0], key) if floor is None else floor)
        scale = np.nan if hard_and_soft(grid, name, host) else 100
        for attention, short in zip(ATTENTION, ("words", "regions"), strict=True):
            points = [
                scale * (a.metrics.get(attention, np.nan) - b.metrics.get(attention, np.nan))
                for a, b in pairs
            ]
            row |= gain_over_seeds(short, points)
        rows.append(row | {"runs": [pair[k].run for k in (0, 1) for pair in pairs]})
    return pd.DataFrame(rows)


def hard_and_soft(grid: Grid, name: str, other: str) -> bool:
    """Return whether one of two rows attends to one key for each query, and the other to several.

    Hard attention cannot have all of several relevant keys, so the two differ in recall and F1
    whatever they attend to.
    """
    rows = [grid.rows[row].at(DEFAULT_PROFILE) for row in (name, other) if row in grid.rows]
    return {getattr(row.matcher, "attention", "") for row in rows} == {"hard", "soft"}


def spread_floor(row: Result, host: Result, key: str = "rsum") -> float:
    """Return the lower bound of the SD of a gain over seeds; 0 if it was not measured."""
    return rounding.gain_floor(row.recipe, row.run, host.run) if key == "rsum" else 0.0


def paired(row: Sequence[Result], host: Sequence[Result]) -> list[tuple[Result, Result]]:
    """Return the results of two rows in pairs, for the seeds that both have."""
    by_seed = {result.seed: result for result in host}
    return [(result, by_seed[result.seed]) for result in row if result.seed in by_seed]


def _gain(pairs: Sequence[tuple[Result, Result]], key: str, floor: float) -> dict[str, object]:
    """Return the columns of `gains` for the gain in ``key`` and its uncertainty."""
    row, host = (np.mean([pair[k].hits for pair in pairs], axis=0) for k in (0, 1))
    images = retrieval.paired_bootstrap(row, host).to_dict("index")[key]
    seeds = statistics.over_seeds([a.metrics[key] - b.metrics[key] for a, b in pairs], floor=floor)
    gain, p = images["difference"], labels.combined_p(images["p"], seeds.p)
    return {
        "gain": gain,
        "low": images["low"],
        "high": images["high"],
        **seed_columns(gain, seeds, images["low"], images["high"]),
        "p_images": images["p"],
        "p_seeds": seeds.p,
        "p": p,
        "effect": labels.effect(gain, p),
    }


def seed_columns(
    gain: float, seeds: statistics.OverSeeds, low: float, high: float
) -> dict[str, object]:
    """Return the columns ``seeds``, ``spread``, ``seeds_low``, ... ``needed`` of a gain.

    The number of seeds; the standard deviation of the gain between them, and the same with its
    lower bound; the 95 % interval of its mean over seeds; the gain that this many seeds and images
    show in 8 of 10 cases, ``low`` and ``high`` being the interval over images; and how many seeds
    would show a gain of this size (NaN: not even `statistics.MAX_SEEDS`).
    """
    error = statistics.image_error(low, high)
    needed = statistics.seeds_needed(gain, seeds.deviation, over_images=error)
    return {
        "seeds": seeds.count,
        "spread": seeds.sd,
        "deviation": seeds.deviation,
        "seeds_low": gain - seeds.half,
        "seeds_high": gain + seeds.half,
        "detectable": statistics.detectable(seeds.deviation, seeds.count, over_images=error),
        "needed": np.nan if needed is None else float(needed),
    }


def gain_over_seeds(name: str, differences: Sequence[float] | np.ndarray) -> dict[str, object]:
    """Return a gain tested over seeds alone, from one difference per seed.

    Columns: ``name``, the mean, and ``name_spread``, ``name_p``, ``name_detectable`` and
    ``name_effect``. All numbers are NaN where one of the two rows lacks the measure.
    """
    seeds = statistics.over_seeds(differences)
    return {
        name: seeds.mean,
        f"{name}_spread": seeds.sd,
        f"{name}_p": seeds.p,
        f"{name}_detectable": statistics.detectable(seeds.deviation, seeds.count),
        f"{name}_effect": labels.effect(seeds.mean, seeds.p),
    }


def p_value(p: float) -> str:
    """Return a p value as text; empty where there was no test.

    >>> p_value(0.0004), p_value(0.0312), p_value(float("nan"))
    ('< 0.001', '0.031', '')
    """
    return "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def readable_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `gains` as text, with `test_columns` behind the table's switch."""
    rows = []
    for r in table.to_dict("records"):
        row = {"method": r["name"], "effect": r["effect"], "gain in rSum": gain_text(r)}
        for short in ("words", "regions"):
            points = f"{r[short]:+.1f}{spread(r[f'{short}_spread'])}"
            row[ATTENTION_TITLES[short]] = "" if np.isnan(r[short]) else points
        rows.append(row | test_columns(r))
    shown = linked(pd.DataFrame(rows), {"gain in rSum": table.get("runs", ())})
    return tests_behind_switch(shown, *ATTENTION_TITLES.values())


def gain_text(row: Mapping[Hashable, Any]) -> str:
    """Return ``gain [low, high] ± SD`` of a row of `gains`."""
    return f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]{spread(row['spread'])}"


def test_columns(row: Mapping[Hashable, Any]) -> dict[str, str]:
    """Return what the test of a row of `gains` rests on: host, seeds, p, detectable gain, ...

    ``p`` is the larger of the tests over images and over seeds.
    """
    detectable = "" if np.isnan(row["detectable"]) else f"{row['detectable']:.1f}"
    return {
        "over": row["host"],
        "seeds": str(row["seeds"]),
        "p": p_value(row["p"]),
        "minimum detectable gain": detectable,
        "seeds needed": needed(row),
    }


def tests_behind_switch(shown: pd.DataFrame, *optional: str) -> pd.DataFrame:
    """Return a table with `test_columns` behind its switch, without empty ones.

    The host stays in sight where a method has several; ``optional`` are more columns that are left
    out where they are empty.
    """
    tests = ["over", "seeds", "p", "minimum detectable gain", "seeds needed"]
    columns = [name for name in (*tests[2:], *optional) if name in shown]
    shown = shown.drop(columns=[name for name in columns if not shown[name].any()])
    if not len(shown) or not shown["method"].duplicated().any():
        return behind_switch(shown, tests)
    shown.insert(1, "over", shown.pop("over"))
    return behind_switch(shown, tests[1:])


def needed(row: Mapping[Hashable, Any]) -> str:
    """Return how many seeds would detect the gain of a row of `gains`, if it is not significant."""
    if row["effect"] != labels.NO_EFFECT:
        return ""
    if np.isnan(row["needed"]):
        return f"> {statistics.MAX_SEEDS}"
    return f"{row['needed']:.0f}"


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of several tables of `gains`, one below the other."""
    return pd.concat(tables, ignore_index=True)


def matrix(table: pd.DataFrame, hosts: Sequence[str], value: str = "gain") -> pd.DataFrame:
    """Return a column of `gains` as a matrix of hosts by plug-ins, NaN where there is no run."""
    names = plugin_names(table)
    wide = table.assign(plug=names).pivot(index="host", columns="plug", values=value)
    rows = [host for host in hosts if host in wide.index]
    return wide.reindex(index=rows, columns=list(dict.fromkeys(names)))


def plugin_names(table: pd.DataFrame) -> list[str]:
    """Return the name of each row of `gains` without its host."""
    pairs = zip(table["name"], table["host"], strict=True)
    return [name.removeprefix(f"{host} + ") for name, host in pairs]
