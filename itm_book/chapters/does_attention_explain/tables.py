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

from itm_book.chapters.does_attention_explain.agreement import (
    COPIES,
    GRADIENTS,
    LEFT_OUT,
    ORDERS,
    Looks,
    overlap,
    pointing,
    precision,
    top1_deletion_rank,
)
from itm_core.evaluation.rank_correlation import kendall_of_rows
from itm_core.evaluation.statistics import NO_EFFECT, UNKNOWN, Estimate, mean_over_images

ANOTHER, BOTH, BEFORE, SAME = (
    "another word's",
    "the two attributions",
    "before training",
    "attention before and after",
)
COMPARED = (LEFT_OUT, COPIES, GRADIENTS, ANOTHER, BOTH, BEFORE, SAME)
COSTS = "costs more than"
MEASURES = {"pointing": pointing, "average precision": precision}
GRADES = ((0.6, "closely"), (0.3, "in part"), (0.0, "weakly"))  # from which tau on
CHANCE = "do not agree more than chance"
MOST, AT_RANDOM = ORDERS[0], "at random"


def taus(looks: Looks) -> dict[str, np.ndarray]:
    """Return Kendall's tau-b ``[M]`` of rankings of regions, by what is compared (`COMPARED`).

    Attention with every attribution, by the attribution's name; and to compare with: attention
    and the occlusion of another word of the same caption (NaN for a word that stands alone);
    occlusion and gradients, without attention; attention and occlusion of the matcher before
    training; attention after training and before.
    """
    occlusion = looks.attributions[looks.occlusion]
    found = {
        name: kendall_of_rows(looks.attention, one) for name, one in looks.attributions.items()
    }
    another = kendall_of_rows(looks.attention, occlusion[looks.other])
    found[ANOTHER] = np.where(looks.other < 0, np.nan, another)
    found[BOTH] = kendall_of_rows(occlusion, looks.attributions[GRADIENTS])
    found[BEFORE] = kendall_of_rows(looks.blank, looks.blank_lost)
    found[SAME] = kendall_of_rows(looks.attention, looks.blank)
    return found


def tops(looks: Looks) -> dict[str, Estimate]:
    """Return what attention and occlusion have in common at the top, in shares of 0..1.

    ``top 1`` and ``top 5``: regions among the first of both (chance is k / R); `COSTS`: of the
    other regions, how many are missed less than the most attended one (chance is one half).
    """
    occlusion = looks.attributions[looks.occlusion]
    found = {f"top {k}": overlap(looks.attention, occlusion, k) for k in (1, 5)}
    found[COSTS] = top1_deletion_rank(looks.attention, occlusion)
    return {name: mean_over_images(values, looks.image) for name, values in found.items()}


def truthful(looks: Looks, measure: str = "pointing") -> dict[str, Estimate]:
    """Return ``pointing`` or ``average precision`` of attention and of every attribution.

    In shares of 0..1, over words that name something a region shows; nothing where the dataset
    does not know what words name. ``chance`` is what pointing at random would have.
    """
    relevant = looks.relevant
    if relevant is None or not relevant.any():
        return {}
    maps = {"attention": looks.attention, **looks.attributions}
    found = {name: MEASURES[measure](one, relevant) for name, one in maps.items()}
    if measure == "pointing":
        found["chance"] = np.where(relevant.any(1), relevant.mean(1), np.nan)
    return {name: mean_over_images(values, looks.image) for name, values in found.items()}


def closer(looks: Looks) -> Estimate:
    """Return how much more often attention points at what the word names than occlusion does.

    NaN where the dataset does not know what words name.
    """
    if looks.relevant is None:
        return UNKNOWN
    maps = (looks.attention, looks.attributions[looks.occlusion])
    ours, theirs = (pointing(one, looks.relevant) for one in maps)
    return mean_over_images(ours - theirs, looks.image)


def falls(looks: Looks) -> np.ndarray:
    """Return how far scores have fallen along each order, ``[orders, K, N]``.

    In leads: 1 is the mean distance between a pair's score and those of its caption with all
    other images. NaN where that mean is not above zero: then there is nothing to fall from.
    """
    lead = float(np.mean(looks.lead))
    return (looks.curves[:, :1] - looks.curves) / (lead if lead > 0 else np.nan)


def areas(looks: Looks) -> dict[str, Estimate]:
    """Return the mean fall along the way, in leads, of every order.

    At random as it is, the others less that. The way is counted in regions removed, from none to
    all but one.
    """
    area = np.trapezoid(falls(looks), looks.removed, axis=1) / looks.removed[-1]
    drawn = area[ORDERS.index(AT_RANDOM)]
    pairs = np.arange(len(drawn))
    less = [
        one if name == AT_RANDOM else one - drawn for name, one in zip(ORDERS, area, strict=True)
    ]
    return {name: mean_over_images(one, pairs) for name, one in zip(ORDERS, less, strict=True)}


# --- for people ----------------------------------------------------------------------------------


def agreements(found: Mapping[str, Looks]) -> pd.DataFrame:
    """Return the means of `taus`: ``method``, ``what``, ``value``, ``low``, ``high``."""
    rows = []
    for method, looks in found.items():
        for what, values in taus(looks).items():
            mean = mean_over_images(values, looks.image)
            rows.append({"method": method, "what": what} | mean._asdict())
    return pd.DataFrame(rows)


def readable_agreements(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of `agreements` as text, one column for everything compared."""
    said = [str(Estimate(*row)) for row in table[["value", "low", "high"]].to_numpy()]
    wide = table.assign(said=said).pivot(index="method", columns="what", values="said")
    wide = wide.loc[list(dict.fromkeys(table["method"])), [w for w in COMPARED if w in wide]]
    return wide.rename_axis(columns=None).reset_index()


def readable_costs(found: Mapping[str, Looks]) -> pd.DataFrame:
    """Return `tops` and `areas` of every method as text."""
    rows = {method: tops(looks) | areas(looks) for method, looks in found.items()}
    return _text(rows)


def readable_truth(found: Mapping[str, Looks], measure: str) -> pd.DataFrame:
    """Return `truthful` of every method as text."""
    return _text({method: truthful(looks, measure) for method, looks in found.items()})


def _text(rows: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"method": m} | {name: str(e) for name, e in row.items()} for m, row in rows.items()]
    )


def missed(found: Mapping[str, Looks]) -> Markdown:
    """Return in words how far the integrated gradients are from adding up."""
    shares = {
        method: float(np.abs(one.missed).sum() / np.abs(one.attributions[GRADIENTS]).sum())
        for method, one in found.items()
    }
    ordered = sorted(shares.items(), key=lambda one: one[1])
    (least, low), (most, high) = ordered[0], ordered[-1]
    return Markdown(
        "What the gradients of all regions fail to add up to, as a share of their own size: "
        f"from {100 * low:.1f} % (*{least}*) to {100 * high:.1f} % (*{most}*)."
    )


def redundancy(found: Mapping[str, Looks]) -> Markdown:
    """Return in words what taking near copies along changes."""
    said: dict[str, list[str]] = {"higher": [], "lower": [], NO_EFFECT: []}
    for method, looks in found.items():
        if COPIES in looks.attributions:
            tau = taus(looks)
            change = mean_over_images(tau[COPIES] - tau[LEFT_OUT], looks.image)
            word = _against(change, 0, "higher", "lower") or NO_EFFECT
            said[word].append(f"{method} ({change.value:+.2f})")
    parts = [f"{word} for {', '.join(names)}" for word, names in said.items() if names]
    if not parts:
        return Markdown("This dataset has no boxes: regions go one at a time.")
    return Markdown(
        "With near copies taken along, the agreement of attention with leaving out is "
        f"{'; '.join(parts)}."
    )


def verdicts(found: Mapping[str, Looks]) -> Markdown:
    """Return one sentence for every method, made from the intervals alone."""
    return Markdown("\n".join(f"* **{method}**: {verdict(one)}" for method, one in found.items()))


def verdict(looks: Looks) -> str:
    """Return whether attention agrees with leaving out and with the gradients, in words."""
    tau = taus(looks)
    own, slope = (mean_over_images(tau[name], looks.image) for name in (looks.occlusion, GRADIENTS))
    more = " and ".join(_more(tau, looks)) if own.low > 0 else ""
    said = ", ".join(filter(None, [grade(own), more]))
    return f"attention and leaving out {said}; attention and the gradients {grade(slope)}."


def _more(tau: Mapping[str, np.ndarray], looks: Looks) -> list[str]:
    """Return whether a method's agreement is more than what it is compared with."""
    found = []
    for other, name in ((ANOTHER, "another word's loss"), (BEFORE, "the matcher before training")):
        gap = mean_over_images(tau[looks.occlusion] - tau[other], looks.image)
        if not np.isnan(gap.value):
            found.append(f"{'more' if gap.low > 0 else '**no more**'} than with {name}")
    return found


def grade(tau: Estimate) -> str:
    """Return how well two rankings agree, in words.

    >>> grade(Estimate(0.4, 0.3, 0.5)), grade(Estimate(0.1, -0.1, 0.3))
    ('agree in part (0.40 [0.30, 0.50])', 'do not agree more than chance (0.10 [-0.10, 0.30])')
    """
    if np.isnan(tau.value):
        return "cannot be compared"
    if tau.low <= 0:
        return f"{'run against each other' if tau.high < 0 else CHANCE} ({tau})"
    word = next(word for least, word in GRADES if round(tau.value, 2) >= least)
    return f"agree {word} ({tau})"


def readable_verdicts(found: Mapping[str, Looks]) -> pd.DataFrame:
    """Return what the other measures say of every method, in words made from the intervals."""
    rows = []
    for method, looks in found.items():
        cost, fall, near = tops(looks)[COSTS], areas(looks)[MOST], closer(looks)
        rows.append(
            {
                "method": method,
                "its most attended region is missed": _against(cost, 0.5, "more", "less"),
                "without what is attended the score falls": _against(fall, 0, "faster", "slower"),
                "points more often at what is named": _against(near, 0, "attention", "leaving out"),
            }
        )
    return pd.DataFrame(rows)


def _sign(one: Estimate, line: float) -> int:
    """Return on which side of a line an interval lies, or 0 where it holds the line."""
    return 1 if one.low > line else -1 if one.high < line else 0


def _against(one: Estimate, line: float, above: str, below: str) -> str:
    """Return a word for the side on which an interval lies; empty where nothing was measured."""
    if np.isnan(one.value):
        return ""
    return {1: above, -1: below, 0: NO_EFFECT}[_sign(one, line)]
