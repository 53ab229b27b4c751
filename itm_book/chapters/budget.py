"""How the gain of RCAR and of hard coding depends on the training: one setting at a time.

The grid ``budget`` has rows at a middle budget (the group `MIDDLE`), and rows with one of its
settings changed, in the group of that setting; their names are ``method`` and ``method (change)``.
Method and host always have the same budget.

Page: "How much training does a gain need?".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, Markdown

from itm_book.records import results
from itm_book.records.grids import Grid, Size
from itm_book.records.results import Result, Results
from itm_book.tables import comparison, sentences, verdicts
from itm_book.tables.collapse import method_of
from itm_book.tables.labels import UNTESTABLE
from itm_book.tables.report import behind_switch
from itm_book.tables.run_links import linked
from itm_core.evaluation.statistics import spearman
from itm_core.experiments import recipes
from itm_core.experiments.recipes import Recipe
from itm_core.training.losses import LossSettings, hinge

MIDDLE = "middle"  # the group of the rows from which one setting is changed
SETTINGS: Mapping[str, tuple[str, str]] = MappingProxyType(  # group: part and key of the recipe
    {
        "epochs": ("training", "epochs"),
        "warm-up": ("loss", "warmup_epochs"),
        "D": ("encoder", "embedding"),
        "photographs": ("training", "train_images"),
        "batch": ("training", "batch"),
        "learning rate": ("training", "learning_rate"),
    }
)
FLICKR30K, FLICKR8K = 29_000, 6_000  # training photographs of their usual splits
PER_IMAGE = 5  # captions of a photograph, in Flickr8k and Flickr30K
NOT_RUN = "not run"
OVER_SEEDS = "95 % interval over seeds"


def every_result(runs: Results) -> Iterator[Result]:
    """Yield the results of all rows."""
    return (result for group in runs.values() for result in group)


def status(runs: Results) -> str:
    """Return `results.status`, or that nothing was run."""
    return results.status(runs) if runs else "no run of this grid is recorded yet"


def at_profile(grid: Grid, size: Size, profile: str, seeds: int = 5) -> Results:
    """Return the recorded results of the middle rows at another profile, such as the record's."""
    there = size.replace(profile=profile, seeds=tuple(range(seeds)))
    return results.recorded_so_far(grid.only(MIDDLE), there)


# --- budgets -----------------------------------------------------------------------------------


def value_of(recipe: Recipe, setting: str) -> float:
    """Return the value of one of `SETTINGS` in a recipe; NaN for ``None`` (all photographs)."""
    part, key = SETTINGS[setting]
    value = getattr(recipe.parts[part], key)
    return math.nan if value is None else float(value)


def budgets(size: Size, record: str = "f8k") -> pd.DataFrame:
    """Return the published budgets, those of the record and the middle ones, a row for each.

    ``steps`` is the number of updates of the weights: captions over batch, times epochs.
    """
    rows = []
    for where, profile, photographs in (
        ("published for Flickr30K", "f30k", FLICKR30K),
        ("record on Flickr8k", record, FLICKR8K),
        ("middle of this page", size.profile, FLICKR8K),
    ):
        for method, recipe in (("RCAR", "rcar-t2i"), ("CHAN", "chan")):
            settings = recipes.get(f"{recipe}-{profile}")
            training = settings.training
            images = min(photographs, training.train_images or photographs)
            rows.append(
                {
                    "budget": where,
                    "method": method,
                    "D": settings.encoder.embedding,
                    "K": str(settings.regulator.width) if settings.regulator.active else "",
                    "photographs": images,
                    "epochs": training.epochs,
                    "of them with all negatives": settings.loss.warmup_epochs,
                    "batch": training.batch,
                    "learning rate": f"{training.learning_rate:g}",
                    "steps": training.epochs * (PER_IMAGE * images // training.batch),
                }
            )
    return pd.DataFrame(rows)


def equal_scores(loss: LossSettings, batches: Iterable[int]) -> pd.DataFrame:
    """Return the loss of a batch whose scores are all equal, by the negatives that count.

    Also how many of the batch's scores have a gradient: of equal ones, ``hardest`` moves a single
    negative in each row and each column, and all others stay where they are.
    """
    rows = []
    for batch in batches:
        row: dict[str, object] = {"batch": batch}
        for name, hardest in (("hardest", True), ("all", False)):
            scores = torch.zeros(batch, batch, requires_grad=True)
            value = hinge(scores, loss.margin, hardest=hardest)
            (gradient,) = torch.autograd.grad(value, scores)
            negatives = gradient[~torch.eye(batch, dtype=torch.bool)]
            row[f"loss, {name} negatives"] = f"{value.item():.1f}"
            moved = int((negatives != 0).sum())
            row[f"negatives that move, {name}"] = f"{moved} of {len(negatives)}"
        rows.append(row)
    return pd.DataFrame(rows)


# --- gains -------------------------------------------------------------------------------------


def gains_by_setting(
    runs: Results, grid: Grid, profile: str, collapsed: Iterable[str] = ()
) -> pd.DataFrame:
    """Return the gain of every budget, a row for each setting and value, in the grid's order.

    A middle row occurs once for each setting. Columns: ``comparison`` such as "RCAR t2i over base
    t2i", ``setting``, ``value``, ``middle`` (whether nothing is changed), the columns of
    `comparison.gains`, ``differences`` (one a seed), and the mean rSum of both as ``rsum`` and
    ``host_rsum``. Budgets that were not run have no seeds and NaN.

    ``collapsed`` are the folders of runs, see `collapse.watched`. The column of this name says of
    each seed whether one of its two runs is among them, and ``trained`` whether the budget was run
    and none is: only then its gain says something about the method.
    """
    pinned = set(collapsed)
    measured = {row["name"]: row for row in comparison.gains(runs, grid).to_dict("records")}
    rows = []
    for name, row in grid.rows.items():
        if not row.host:
            continue
        middle, recipe = row.group == MIDDLE, row.at(profile)
        cells = measured.get(name, {"name": name, "host": row.host, "seeds": 0, "runs": []})
        cells = cells | _both(runs, name, row.host, pinned)
        for setting in SETTINGS if middle else [row.group]:
            title = f"{method_of(name)} over {method_of(row.host)}"
            place = {"comparison": title, "setting": setting, "middle": middle}
            rows.append(cells | place | {"value": value_of(recipe, setting)})
    table = pd.DataFrame(rows)
    absent = ("gain", "low", "high", "spread", "seeds_low", "seeds_high", "p", "effect")
    return table.assign(**{name: np.nan for name in absent if name not in table})


def _both(runs: Results, name: str, host: str, pinned: set[str]) -> dict[str, Any]:
    """Return the rSum of a row and of its host, means over the seeds of both; differences.

    Also which seeds have a run in ``pinned``, and whether there are seeds and none has, of both
    and of the host alone.
    """
    pairs = comparison.paired(runs.get(name, ()), runs.get(host, ()))
    rsums = np.array([[result.metrics["rsum"] for result in pair] for pair in pairs])
    mean = rsums.mean(0) if pairs else [math.nan, math.nan]
    differences = list(rsums[:, 0] - rsums[:, 1]) if pairs else []
    collapsed = [not pinned.isdisjoint({str(a.run), str(b.run)}) for a, b in pairs]
    rows = {"rsum": mean[0], "host_rsum": mean[1], "differences": differences}
    host_trained = bool(pairs) and not any(str(b.run) in pinned for _, b in pairs)
    trained = bool(pairs) and not any(collapsed)
    return rows | {"collapsed": collapsed, "trained": trained, "host_trained": host_trained}


def finding(table: pd.DataFrame) -> HTML:
    """Return for each comparison of `gains_by_setting` its range over budgets, in words.

    Also at which budgets the gain is largest and smallest, of those that can be tested. Budgets
    with a collapsed run are left out, and counted.
    """
    parts = []
    for name, rows in tested(table).groupby("comparison", sort=False):
        kept = rows[rows["trained"]]
        tally = sentences.tally(kept, "budgets") if len(kept) else "no budget was trained"
        part = f"<em>{escape(str(name))}</em>, {tally}"
        testable = kept[kept["effect"] != UNTESTABLE]
        if len(testable) > 1:
            ordered = testable.sort_values("gain").to_dict("records")
            smallest, largest = _place(ordered[0]), _place(ordered[-1])
            part += f", the largest gain with {largest}, the smallest with {smallest}"
        if collapsed := len(rows) - len(kept):
            more = " more" * bool(len(kept))
            part += f"; {collapsed}{more} with a collapsed run {'is' if collapsed == 1 else 'are'}"
            part += " left out"
        parts.append(part)
    return sentences.finding(f"for {'; for '.join(parts)}." if parts else "no budget is recorded.")


def _place(row: Mapping[Hashable, Any]) -> str:
    """Return the budget of a row of `gains_by_setting`, such as "12 epochs" or "D 64"."""
    if row["middle"]:
        return "the middle budget"
    value, setting = f"{row['value']:g}", str(row["setting"])
    counted = setting in ("epochs", "photographs")
    return escape(f"{value} {setting}" if counted else f"{setting} {value}")


def tested(table: pd.DataFrame) -> pd.DataFrame:
    """Return the budgets of `gains_by_setting` that were run, each once."""
    return table[table["seeds"] > 0].drop_duplicates("name")


def readable(table: pd.DataFrame, collapsed: Iterable[str] = ()) -> pd.DataFrame:
    """Return the gains of one comparison as text, the middle first, then setting by setting.

    ``collapsed`` are the folders of runs, see `collapse.watched`; they are counted.
    """
    pinned = set(collapsed)
    middle = table[table["middle"]].drop_duplicates("name").assign(setting=MIDDLE)
    others = table[~table["middle"]]
    order = others["setting"].map(list(SETTINGS).index)
    others = others.assign(order=order).sort_values(["order", "value"])
    rows = [_readable_row(row, pinned) for row in pd.concat([middle, others]).to_dict("records")]
    shown = pd.DataFrame(rows)
    places = [list(row) for row in pd.concat([middle, others])["runs"]]
    return behind_switch(linked(shown, {"gain in rSum": places}), ["seeds", OVER_SEEDS, "p"])


def _readable_row(row: Mapping[Hashable, Any], collapsed: set[str]) -> dict[str, str]:
    middle, seeds = row["setting"] == MIDDLE, int(row["seeds"])
    cells = {"setting": row["setting"], "value": "" if middle else f"{row['value']:g}"}
    if not seeds:
        names = ("gain in rSum", "rSum", "host's rSum", "collapsed", "seeds", OVER_SEEDS, "p")
        return cells | {"effect": NOT_RUN} | dict.fromkeys(names, "")
    interval = f"[{row['seeds_low']:+.1f}, {row['seeds_high']:+.1f}]"
    sides = [[place in collapsed for place in side] for side in _sides(row)]
    return cells | {
        "effect": row["effect"],
        "gain in rSum": comparison.gain_text(row),
        "rSum": f"{row['rsum']:.1f}",
        "host's rSum": f"{row['host_rsum']:.1f}",
        "collapsed": ", ".join(
            f"{sum(side)} of {seeds}{name}"
            for name, side in zip(("", " (host)"), sides, strict=True)
            if any(side)
        ),
        "seeds": str(seeds),
        OVER_SEEDS: interval if seeds > 1 else "",
        "p": comparison.p_value(row["p"]),
    }


def _sides(row: Mapping[Hashable, Any]) -> list[list[str]]:
    """Return the folders of the runs of a row of `comparison.gains`, and those of its host."""
    runs = list(row["runs"])
    return [runs[: len(runs) // 2], runs[len(runs) // 2 :]]


def cells_left(grid: Grid, size: Size, runs: Results) -> Markdown:
    """Return how many runs of the grid are recorded, and which budgets lack all seeds or some.

    Budgets without a run are listed by setting; methods are named where others of the budget have
    another number of seeds.
    """
    wanted = len(size.seeds)
    done = {name: len(runs.get(name, ())) for name in grid.rows}
    lines = [f"{sum(done.values())} of {wanted * len(done)} runs are recorded."]
    for setting in dict.fromkeys(row.group for row in grid.rows.values()):
        names = [name for name, row in grid.rows.items() if row.group == setting]
        if budgets := _with_seeds(names, done, 0):
            lines.append(f"\n- **Not run, {setting}:** {', '.join(budgets)}")
    for count in range(1, wanted):
        if budgets := _with_seeds(list(grid.rows), done, count):
            lines.append(f"\n- **{count} of {wanted} seeds:** {', '.join(budgets)}")
    return Markdown("".join(lines))


def _with_seeds(names: Sequence[str], done: Mapping[str, int], count: int) -> list[str]:
    """Return the budgets of rows that have a number of seeds, with the methods if not all do."""
    rows: dict[str, list[str]] = {}
    for name in names:
        budget = name.removeprefix(method_of(name)).strip(" ()") or MIDDLE
        rows.setdefault(budget, []).append(name)
    found = []
    for budget, of_budget in rows.items():
        methods = [method_of(name) for name in of_budget if done[name] == count]
        if methods:
            some = f" ({' and '.join(methods)})" if len(methods) < len(of_budget) else ""
            found.append(budget + some)
    return found


def at_every_budget(number: int, text: str, table: pd.DataFrame) -> dict[str, str]:
    """Return `verdicts.claim`: that one comparison of `gains_by_setting` gains at every budget.

    A budget at which the host collapsed has nothing to gain over and is left out; one at which
    the method alone collapsed counts, since that is a failure of the method. The name of the
    middle one says so.
    """
    rows = table.drop_duplicates("name")
    names = rows["name"].where(~rows["middle"].astype(bool), rows["name"] + f" ({MIDDLE})")
    rows = rows.assign(name=names)
    collapsed = (rows["seeds"] > 0) & ~rows["host_trained"].astype(bool)
    kept = rows[~collapsed]
    left_out = list(rows.loc[collapsed, "name"])
    run = kept[kept["seeds"] > 0]
    return verdicts.claim(number, text, run, list(kept["name"]), collapsed=left_out)


def trend(table: pd.DataFrame) -> pd.DataFrame:
    """Return for each comparison how the gain follows the host's rSum over budgets.

    Spearman's rho of the two, each budget counting once, the middle one too; those with a
    collapsed run are left out. So are comparisons with less than three budgets: of two, rho is 1
    or -1.
    """
    rows = []
    for title, part in table.groupby("comparison", sort=False):
        budget = part[part["trained"]].drop_duplicates("name")
        if len(budget) < 3:
            continue
        rho = spearman(budget["host_rsum"].to_numpy(), budget["gain"].to_numpy())
        rows.append(
            {
                "comparison": title,
                "budgets": len(budget),
                "host's rSum": _ends(budget["host_rsum"], ".0f"),
                "gain": _ends(budget["gain"], "+.1f"),
                "Spearman's rho": "" if math.isnan(rho) else f"{rho:+.2f}",
            }
        )
    return pd.DataFrame(rows)


def _ends(values: pd.Series, form: str) -> str:
    return f"{values.min():{form}} to {values.max():{form}}"
