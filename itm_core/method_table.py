"""The table of all methods: what each fills into the sentence, and what came out on one dataset.

All methods with three seeds take most of an hour on two cores, so the table is *recorded*: made
from runs by ``itm methods``, kept in ``data/results/`` with where and when, and shown by the book
beside what the book itself trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_core import recipes, report, retrieval
from itm_core.attention_quality import Quality, attention_quality
from itm_core.data.precomp import Dataset
from itm_core.errors import InputError
from itm_core.files import whole_file
from itm_core.grids import METHOD_ROWS, every_method
from itm_core.inputs import features_of
from itm_core.matchers import AttendingSettings
from itm_core.recipes import Recipe
from itm_core.runs import Run, Spec, train_many
from itm_core.settings import one_of

DIRECTION_NAMES = {"t2i": "words ask", "i2t": "regions ask", "both": "both ask"}
ATTENTION = {"t2i": "attention F1 of words", "i2t": "attention F1 of regions"}


def group_of(name: str) -> str:
    """Return the group of `grids.METHOD_ROWS` that a row belongs to."""
    plain = ENSEMBLES.get(name, (name.partition(",")[0],))[0]
    return next((group for group, rows in METHOD_ROWS.items() if plain in rows), "")


def sentences(specs: Mapping[str, Sequence[Spec]]) -> pd.DataFrame:
    """Return how every method fills in *attend, align, aggregate, regulated, constrained*."""
    rows = []
    for name, group in specs.items():
        recipe = recipes.get(group[0].recipe).replace(*group[0].overrides)
        rows.append({"method": name, **_words(recipe)})
    return pd.DataFrame(rows)


def _words(recipe: Recipe) -> dict[str, str]:
    matcher, regulator, constraints = recipe.matcher, recipe.regulator, recipe.constraints
    if not isinstance(matcher, AttendingSettings):
        whole = f"{recipe.encoder.whole_regions} / {recipe.encoder.whole_words}"
        return {"attend": "no", "align": matcher.measure, "aggregate": whole, "plug-in": ""}
    gate = "" if matcher.gate == "none" else f", gate {matcher.gate}"
    pools = regulator.active and regulator.kind in ("rar", "rcar")
    vectors = pools or matcher.uses_nodes
    names = [f"{regulator.kind.upper()} x {regulator.steps}"] if regulator.active else []
    names += [name.upper() for name in ("ccr", "ccs") if getattr(constraints, name)]
    return {
        "attend": f"{matcher.attention}{gate}, {DIRECTION_NAMES[matcher.direction]}",
        "align": "similarity vectors" if vectors else "similarity",
        "aggregate": "pooled by RAR" if pools else matcher.aggregation,
        "plug-in": " + ".join(names),
    }


@dataclass(frozen=True)
class Averaged:
    """The ensemble of several runs: their scores averaged, as RCAR's two directions are."""

    scores: np.ndarray
    metrics: dict[str, Any]
    environment: dict[str, Any]

    @classmethod
    def of(cls, *runs: Run) -> Averaged:
        """Return the ensemble of runs of one dataset."""
        scores = retrieval.ensemble([run.scores for run in runs])
        seconds = sum(run.environment["seconds_training"] for run in runs)
        environment = runs[0].environment | {"seconds_training": seconds}
        return cls(scores, retrieval.report(scores), environment)


ENSEMBLES = {"rcar, both directions": ("rcar-t2i", "rcar-i2t"), "saf + sgr": ("saf", "sgr")}


def with_ensembles(groups: Mapping[str, Sequence[Run]]) -> dict[str, Sequence[Run | Averaged]]:
    """Return the groups with the papers' ensembles behind the last of their members."""
    found: dict[str, Sequence[Run | Averaged]] = {}
    for name, runs in groups.items():
        found[name] = runs
        for ensemble, members in ENSEMBLES.items():
            if name == members[-1] and all(member in groups for member in members):
                pairs = zip(*(groups[member] for member in members), strict=True)
                found[ensemble] = [Averaged.of(*pair) for pair in pairs]
    return found


def results(runs: Mapping[str, Sequence[Run]]) -> pd.DataFrame:
    """Return `report.compare` of runs and ensembles, with the attention F1 of each direction.

    A column of attention is empty where a method does not look that way.
    """
    groups = with_ensembles(runs)
    table = report.compare(groups)
    for side in ATTENTION:
        found = [
            _mean([run.metrics.get(f"{side}_attention_f1") for run in groups[n]])
            for n in table["name"]
        ]
        table[f"{side}_attention_f1"] = [mean for mean, _ in found]
        table[f"{side}_attention_f1_sd"] = [spread for _, spread in found]
    table["group"] = [group_of(name) for name in table["name"]]
    return table


def _mean(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    if not known:
        return np.nan, np.nan
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else np.nan


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `results` as text, one row a method, group first."""
    shown = report.readable(table, name="method")
    for side, title in ATTENTION.items():
        pairs = zip(table[f"{side}_attention_f1"], table[f"{side}_attention_f1_sd"], strict=True)
        texts = [
            "" if np.isnan(f) else f"{100 * f:.1f}{report.spread(100 * sd)}" for f, sd in pairs
        ]
        shown.insert(len(shown.columns) - 1, title, texts)
    shown.insert(0, "", table["group"].where(~table["group"].duplicated(), ""))
    return shown


def dots(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return what `figures.results.intervals` draws of one number, coloured by group."""
    return report.dots(table, key).assign(group=table["group"])


def made(
    dataset: Path | str,
    profile: str,
    seeds: Sequence[int],
    *,
    rows: Sequence[str] | None = None,
    **options: Any,
) -> tuple[dict[str, list[Spec]], dict[str, list[Run]]]:
    """Return the runs of every method (or of some ``rows``), trained where they don't exist yet.

    ``options`` are those of `runs.train_many`. Raises `InputError` for a row that there is not.
    """
    specs = every_method(profile, seeds)
    for name in rows or ():
        one_of("row", name, specs)
    chosen = {name: specs[name] for name in rows or specs}
    flat = [spec for group in chosen.values() for spec in group]
    found = train_many(dataset, flat, **options)
    count = len(seeds)
    return chosen, {n: found[k * count : (k + 1) * count] for k, n in enumerate(chosen)}


def record(groups: Mapping[str, Sequence[Run]], path: Path) -> pd.DataFrame:
    """Write the table of `results` to ``path`` with where and when its runs were made."""
    table = results(groups)
    where = next(iter(groups.values()))[0].environment
    table = table.assign(
        dataset=next(iter(groups.values()))[0].config["dataset"],
        machine=f"{where['device_name']}, torch {where['packages']['torch']}",
        made=where["started"][:10] if "started" in where else "",
        commit=(where["commit"] or "")[:12],
    )
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.4f")
    return table


def recorded(path: Path | str) -> pd.DataFrame:
    """Return a table that `record` wrote; raises `InputError` when there is none."""
    path = Path(path)
    if not path.exists():
        raise InputError(
            "no recorded table", file=path, remedy="make it: itm methods --record " + str(path)
        )
    return pd.read_csv(path, keep_default_na=True).assign(
        group=lambda t: [group_of(name) for name in t["name"]]
    )


def caption(table: pd.DataFrame) -> str:
    """Return what a recorded table is of: dataset, seeds, machine, date."""
    first = table.iloc[0]
    return (
        f"Every method on {first['dataset']}, test split, {first['seeds']} seeds; recorded on "
        f"{first['made']} on {first['machine']} (recalls and F1 in percent)"
    )


def beside(table: pd.DataFrame, record: pd.DataFrame) -> pd.DataFrame:
    """Return rows just made beside the recorded ones: R@1 both ways and rSum."""
    known = record.set_index("name")
    rows = []
    for row in table.to_dict("records"):
        shown: dict[str, object] = {"method": row["name"]}
        for key, title in report.SHOWN.items():
            was = known.loc[row["name"]]
            shown[title] = f"{row[key]:.1f}"
            shown[f"{title}, recorded"] = f"{was[key]:.1f}{report.spread(was[f'{key}_sd'])}"
        rows.append(shown)
    return pd.DataFrame(rows)


def qualities(
    groups: Mapping[str, Sequence[Run]], data: Dataset, direction: str = "t2i"
) -> dict[str, Quality]:
    """Return the attention quality of the first run of every group that looks that way."""
    found = {}
    for name, runs in groups.items():
        run = runs[0]
        if f"{direction}_attention_f1" in run.metrics:
            features = features_of(data.test, run.recipe)
            quality = attention_quality(run.matcher(), data.test, data.vocabulary, features)
            assert quality is not None  # its metrics have it
            found[name] = quality.directions[direction]
    return found
