"""Tables and sentences on attention and attributions: what `attribution_agreement` measures.

Every number is an `Estimate`: a mean over images and its 95 % bootstrap interval over images, for
one training seed. Sentences are made from the intervals alone.

Page: "Does attention explain?".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_core.attribution_agreement import (
    COPIES,
    GRADIENTS,
    LEFT_OUT,
    ORDERS,
    Estimate,
    Looks,
    hurt,
    kendall,
    over_images,
    overlap,
    pointing,
    precision,
)

ANOTHER, BOTH, BEFORE, SAME = (
    "another word's",
    "the two attributions",
    "before training",
    "attention before and after",
)
GRADES = ((0.6, "closely"), (0.3, "in part"), (0.0, "barely"))  # from which tau on


def agreement(looks: Looks) -> dict[str, Estimate]:
    """Return Kendall's tau-b of rankings of regions, by what is compared.

    Attention with every attribution, by the attribution's name; and for comparison `ANOTHER`
    (attention of one word, occlusion of another word of the same caption), `BOTH` (occlusion and
    gradients, without attention), `BEFORE` (attention and occlusion of the matcher before
    training) and `SAME` (attention after training and before).
    """
    occlusion = looks.attributions[looks.occlusion]
    found = {name: kendall(looks.attention, one) for name, one in looks.attributions.items()}
    found[ANOTHER] = np.where(
        looks.other < 0, np.nan, kendall(looks.attention, occlusion[looks.other])
    )
    found[BOTH] = kendall(occlusion, looks.attributions[GRADIENTS])
    found[BEFORE] = kendall(looks.blank, looks.blank_lost)
    found[SAME] = kendall(looks.attention, looks.blank)
    return {name: over_images(values, looks.image) for name, values in found.items()}


def own_word(looks: Looks) -> Estimate:
    """Return how much better attention agrees with its own word's occlusion than another's."""
    occlusion = looks.attributions[looks.occlusion]
    own, another = (kendall(looks.attention, one) for one in (occlusion, occlusion[looks.other]))
    return over_images(np.where(looks.other < 0, np.nan, own - another), looks.image)


def tops(looks: Looks) -> dict[str, Estimate]:
    """Return what attention and occlusion have in common at the top, in shares of 0..1.

    ``top 1`` and ``top 5``: regions among the first of both (chance is k / R); ``hurt``: of the
    other regions, how many are missed less than the most attended one (chance is one half).
    """
    occlusion = looks.attributions[looks.occlusion]
    found = {f"top {k}": overlap(looks.attention, occlusion, k) for k in (1, 5)}
    found["hurt"] = hurt(looks.attention, occlusion)
    return {name: over_images(values, looks.image) for name, values in found.items()}


def truthful(looks: Looks) -> dict[str, tuple[Estimate, Estimate]]:
    """Return pointing and average precision of attention and of every attribution.

    In shares of 0..1, over words that name something a region shows; empty where the dataset
    does not know what words name. ``chance`` is what a random ranking would have for pointing.
    """
    relevant = looks.relevant
    if relevant is None or not relevant.any():
        return {}
    found = {
        name: (
            over_images(pointing(one, relevant), looks.image),
            over_images(precision(one, relevant), looks.image),
        )
        for name, one in {"attention": looks.attention, **looks.attributions}.items()
    }
    chance = np.where(relevant.any(1), relevant.mean(1), np.nan)
    return found | {"chance": (over_images(chance, looks.image), Estimate(*[np.nan] * 3))}


def closer(looks: Looks) -> Estimate:
    """Return how much more often attention points at what the word names than occlusion does.

    NaN where the dataset does not know what words name.
    """
    if looks.relevant is None:
        return Estimate(*[np.nan] * 3)
    ours, theirs = (
        pointing(one, looks.relevant)
        for one in (looks.attention, looks.attributions[looks.occlusion])
    )
    return over_images(ours - theirs, looks.image)


def falls(looks: Looks) -> np.ndarray:
    """Return how far scores have fallen along each order, ``[orders, K, N]``.

    In leads: 1 is the mean distance between a pair's score and those of its caption with all
    other images. NaN where that mean is not above zero: then there is nothing to fall from.
    """
    lead = float(np.mean(looks.lead))
    return (looks.curves[:, :1] - looks.curves) / (lead if lead > 0 else np.nan)


def areas(looks: Looks) -> dict[str, Estimate]:
    """Return the mean fall along the way by order, in leads, less that of the random order.

    The way is counted in regions removed, from none to all but one.
    """
    area = np.trapezoid(falls(looks), looks.removed, axis=1) / looks.removed[-1]
    pairs = np.arange(area.shape[1])
    at_random = area[ORDERS.index("at random")]
    found = {name: over_images(one, pairs) for name, one in zip(ORDERS, area, strict=True)}
    gaps = {
        name: over_images(one - at_random, pairs) for name, one in zip(ORDERS, area, strict=True)
    }
    return gaps | {"at random": found["at random"]}


# --- for people ----------------------------------------------------------------------------------


def agreements(found: Mapping[str, Looks]) -> pd.DataFrame:
    """Return `agreement` of every method, one row each: ``method``, ``what``, and the estimate."""
    return pd.DataFrame(
        [
            {"method": method, "what": what, "value": e.value, "low": e.low, "high": e.high}
            for method, looks in found.items()
            for what, e in agreement(looks).items()
        ]
    )


def readable_agreements(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `agreements` as text, one column for everything compared."""
    said = [str(Estimate(*row)) for row in table[["value", "low", "high"]].to_numpy()]
    wide = table.assign(said=said).pivot(index="method", columns="what", values="said")
    order = [w for w in (LEFT_OUT, COPIES, GRADIENTS, ANOTHER, BOTH, BEFORE, SAME) if w in wide]
    return (
        wide.loc[list(dict.fromkeys(table["method"])), order]
        .rename_axis(None)
        .reset_index(names="method")
    )


def readable_tops(found: Mapping[str, Looks]) -> pd.DataFrame:
    """Return `tops` and the falls of `areas` of every method as text."""
    rows = []
    for method, looks in found.items():
        row = {"method": method} | {name: str(e) for name, e in tops(looks).items()}
        rows.append(row | {name: str(e) for name, e in areas(looks).items()})
    return pd.DataFrame(rows)


def readable_truth(found: Mapping[str, Looks]) -> pd.DataFrame:
    """Return `truthful` of every method as text, pointing and average precision side by side."""
    rows = []
    for method, looks in found.items():
        row = {"method": method}
        for name, (points, ranked) in truthful(looks).items():
            row[f"pointing, {name}"] = str(points)
            if name != "chance":
                row[f"average precision, {name}"] = str(ranked)
        rows.append(row)
    return pd.DataFrame(rows)


def verdicts(found: Mapping[str, Looks]) -> Markdown:
    """Return a sentence for every method, made from the intervals alone."""
    return Markdown("\n".join(f"* **{method}.** {verdict(one)}" for method, one in found.items()))


def verdict(looks: Looks) -> str:
    """Return what the numbers of one method say."""
    tau = agreement(looks)[looks.occlusion]
    said = [f"Attention and leaving out {grade(tau)} (tau {tau})"]
    more = own_word(looks)
    if tau.low > 0 and not np.isnan(more.value):
        said[0] += (
            f", for this word more than for another ({more.value:+.2f})"
            if more.low > 0
            else ", but no more than with another word's loss"
        )
    share = tops(looks)["hurt"]
    said.append(
        f"taking out the most attended region costs the word more than {100 * share.value:.0f} % "
        f"of the other regions would ({_against(share, 0.5, 'more', 'less')} than chance)"
    )
    gap = areas(looks)[ORDERS[0]]
    if not np.isnan(gap.value):
        said.append(f"the pair's score falls {_against(gap, 0, 'faster', 'slower')} than at random")
    near = closer(looks)
    if not np.isnan(near.value):
        what = {1: "attention", -1: "leaving out"}.get(_sign(near, 0))
        said.append(
            f"closer to what the words name is {what}"
            if what
            else "neither is told to be closer to what the words name"
        )
    return "; ".join(said) + "."


def grade(tau: Estimate) -> str:
    """Return how well two rankings agree, in words.

    >>> grade(Estimate(0.4, 0.3, 0.5)), grade(Estimate(0.1, -0.1, 0.3))
    ('agree in part', 'do not agree more than chance')
    """
    if np.isnan(tau.value):
        return "cannot be compared"
    if tau.high < 0:
        return "disagree"
    if tau.low <= 0:
        return "do not agree more than chance"
    return f"agree {next(word for least, word in GRADES if tau.value >= least)}"


def _sign(one: Estimate, line: float) -> int:
    return 1 if one.low > line else -1 if one.high < line else 0


def _against(one: Estimate, line: float, above: str, below: str) -> str:
    return {1: above, -1: below, 0: f"not told to be {above}"}[_sign(one, line)]
