"""Tables and sentences of what regulators do, made from `regulation.RegulatorTrace`.

Intervals are bootstraps over images, as everywhere: an image takes its captions, and with them
all their words, along.

Page: "Regulators in motion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_book.chapters.regulators_in_motion.regulation import RegulatorTrace
from itm_book.chapters.regulators_in_motion.word_kinds import KINDS
from itm_core.data.dataset import Split
from itm_core.evaluation.rank_correlation import Ranked
from itm_core.evaluation.statistics import (
    NO_EFFECT,
    UNKNOWN,
    Estimate,
    interval,
    mean_over_images,
    over_drawn_images,
)

MEASURES = {
    "temperature": "temperature λ",
    "change": "channel factors, distance from one",
    "clamped": "channels at the clamp (%)",
    "reach": "fragments looked at, effective number",
    "best": "largest weight (%)",
    "moved": "attention moved since the first pass (%)",
    "mass": "weight on what is named (%)",
    "f1": "attention F1 (%)",
}
PERCENT = ("clamped", "best", "moved", "mass", "f1")


def values(motion: RegulatorTrace, measure: str) -> np.ndarray:
    """Return a measure of every pass and query, ``[K, Q]``, shares in percent."""
    return getattr(motion, measure) * (100 if measure in PERCENT else 1)


def rank_correlation(x: np.ndarray, y: np.ndarray, images: np.ndarray) -> Estimate:
    """Return Spearman's correlation of ``x [N]`` and ``y [N]`` with its interval over images.

    A NaN in either leaves the pair out.
    """
    known = ~(np.isnan(x) | np.isnan(y))
    ranked = Ranked.of(x[known], y[known])
    value = ranked.spearman(known[known].astype(float))
    if known.sum() < 3 or np.isnan(value):
        return UNKNOWN
    low, high = interval(over_drawn_images(ranked.spearman, images[known]))
    return Estimate(value, float(low), float(high))


def by_pass(own: RegulatorTrace, wrong: RegulatorTrace | None = None) -> pd.DataFrame:
    """Return the distribution of every measure in every pass: ``median [5 %, 95 %]``.

    The last column is the last pass with the images of ``wrong``. A measure that the dataset or
    the method does not have is left out.
    """
    rows = []
    for measure, title in MEASURES.items():
        found = values(own, measure)
        if np.isnan(found).all():
            continue
        row = {"": title}
        row |= {f"pass {k + 1}": _spread(one) for k, one in enumerate(found)}
        if wrong is not None:
            row["hardest wrong image"] = _spread(values(wrong, measure)[-1])
        rows.append(row)
    return _wrapping(rows)


def _wrapping(rows: list[dict[str, str]]) -> pd.DataFrame:
    """Return a table whose first column may take more lines, for narrow pages."""
    table = pd.DataFrame(rows)
    table.attrs["wrap"] = list(table.columns[:1])
    return table


def _spread(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return ""
    low, middle, high = np.nanpercentile(values, [5, 50, 95])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def by_kind(own: RegulatorTrace, kinds: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return means over the words of each kind: temperature, F1 and RAR's weight, step by step.

    ``kinds`` are those of `word_kinds`; a weight of one is what a plain mean gives. Raises
    ValueError where regions ask: they are of no kind.
    """
    label = of_queries(own, kinds)
    rows = []
    for kind in dict.fromkeys(k for k in KINDS if (label == k).any()):
        here = label == kind
        row: dict[str, object] = {"words": kind, "number": str(here.sum())}
        if np.ptp(own.temperature) > 0:
            row["λ, last pass"] = f"{own.temperature[-1, here].mean():.2f}"
        known = own.f1[:, here]
        for k in (0, len(known) - 1) if not np.isnan(own.f1).all() else ():
            name = f"F1, pass {k + 1} (%)"
            row[name] = "" if np.isnan(known[k]).all() else f"{100 * np.nanmean(known[k]):.1f}"
        for k, share in enumerate(own.share[:, here]):
            row[f"weight, step {k + 1}"] = f"{share.mean():.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def of_queries(own: RegulatorTrace, kinds: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the kind of every query, ``[Q]``; raises ValueError where regions ask."""
    if own.direction != "t2i":
        raise ValueError("regions are of no kind: these are the queries of i2t")
    return np.array([kinds[c][k] for c, k in zip(own.pair, own.place, strict=True)])


def contrast(own: RegulatorTrace, wrong: RegulatorTrace, split: Split) -> pd.DataFrame:
    """Return how the last pass with the own image differs from that with a wrong one.

    Means over the queries of a pair, paired by caption; the difference with its 95 % interval
    over images, and how many percent of the captions have the larger value with their own image.
    """
    rows = []
    measures = {m: t for m, t in MEASURES.items() if m not in ("mass", "f1")}
    both = {t: [m.by_pair(values(m, k)[-1]) for m in (own, wrong)] for k, t in measures.items()}
    for k in range(len(own.share)):
        both[f"words that RAR pools, step {k + 1} (% of all)"] = [
            100 * m.effective[k] for m in (own, wrong)
        ]
    for title, (ours, theirs) in both.items():
        if np.isnan(ours).all() or not (ours - ours[0]).any():
            continue  # the same for every pair
        row = {
            "": title,
            "own image": f"{ours.mean():.2f}",
            "hardest wrong": f"{theirs.mean():.2f}",
        }
        row["difference"] = f"{mean_over_images(ours - theirs, split.caption_image):+.3f}"
        rows.append(row | {"larger with the own (%)": f"{100 * (ours > theirs).mean():.1f}"})
    return _wrapping(rows)


def parts(variants: Mapping[str, RegulatorTrace], split: Split) -> pd.DataFrame:
    """Return what each variant of RCR does to the attention of the last pass, against the first.

    Means over words that name something where that is known, else over all queries; intervals
    over images.
    """
    rows = []
    for name, found in variants.items():
        images, row = split.caption_image[found.pair], {"second look": name}
        known = not np.isnan(found.f1).all()
        for measure in ("moved", "reach", *(("mass", "f1") if known else ())):
            each = values(found, measure)
            gap = each[-1] - each[0]
            gap = np.where(np.isnan(found.f1[0]), np.nan, gap) if known else gap
            row[f"{MEASURES[measure]}, change"] = f"{mean_over_images(gap, images):+.2f}"
        rows.append(row)
    return _wrapping(rows)


def parts_said(variants: Mapping[str, RegulatorTrace], split: Split) -> Markdown:
    """Return how the variants of `parts` differ from the first of them, in words.

    In the attention F1 of the last pass, or in the effective number looked at where F1 is not
    known; paired by word, with intervals over images.
    """
    (first, whole), *others = variants.items()
    measure = "reach" if np.isnan(whole.f1).all() else "f1"
    images, said = split.caption_image[whole.pair], []
    for name, found in others:
        gap = values(found, measure)[-1] - values(whole, measure)[-1]
        value, low, high = change = mean_over_images(gap, images)
        told = NO_EFFECT if low <= 0 <= high else "higher" if value > 0 else "lower"
        said.append(f"**{name}**: {told} ({change:+.2f})")
    return Markdown(f"By {MEASURES[measure]}, against *{first}*. {'; '.join(said)}.")


def heat_and_gain(
    own: RegulatorTrace, split: Split, kinds: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Return rank correlations of what RCR changes with what the attention gains, word by word.

    The second number compares a word only with words of its kind: a kind that is found more
    easily and also asked more sharply would otherwise make a correlation by itself.
    """
    images, label = split.caption_image[own.pair], of_queries(own, kinds)
    causes = {
        "change in temperature": own.temperature[-1] - own.temperature[0],
        "change in the channels": own.change[-1],
    }
    gains = {
        "gain in F1": own.f1[-1] - own.f1[0],
        "gain in weight on what is named": own.mass[-1] - own.mass[0],
    }
    if np.isnan(own.f1).all():
        gains = {"gain of the largest weight": own.best[-1] - own.best[0]}
    rows = []
    for cause, x in causes.items():
        for gain, y in gains.items():
            naming = ~np.isnan(y)
            row = {"": f"{cause}, {gain}", "words": str(naming.sum())}
            row["rank correlation"] = f"{rank_correlation(x, y, images):+.2f}"
            a, b = (_within(v, label, naming) for v in (x, y))
            row["within a kind of word"] = f"{rank_correlation(a, b, images):+.2f}"
            rows.append(row)
    return _wrapping(rows)


def _within(values: np.ndarray, label: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return values less the mean of their kind among the chosen; NaN for all others."""
    found = pd.Series(np.where(chosen, values, np.nan))
    return (found - found.groupby(label).transform("mean")).to_numpy()


def said(own: RegulatorTrace, wrong: RegulatorTrace, split: Split) -> Markdown:
    """Return what the passes of RCR do, in words made from the numbers alone."""
    if len(own.temperature) < 2:
        return Markdown("There is a single pass here: nothing corrects the attention.")
    first, last = own.temperature[[0, -1]]
    middle, apart = np.median(last), np.percentile(last, [5, 95])
    text = [
        f"**Temperature.** From {np.median(first):.1f} in the first pass to a median of "
        f"{middle:.1f} in the last; {100 * (last > first).mean():.0f} % of the queries ask more "
        f"sharply than before. Nine in ten lie between {apart[0]:.1f} and {apart[1]:.1f}.",
        f"**Attention.** {100 * own.moved[-1].mean():.0f} % of it lies elsewhere than in the "
        f"first pass, on average; the effective number of fragments looked at goes from "
        f"{np.median(own.reach[0]):.1f} to {np.median(own.reach[-1]):.1f} (medians).",
    ]
    gap, low, high = mean_over_images(100 * (own.f1[-1] - own.f1[0]), split.caption_image[own.pair])
    if not np.isnan(gap):
        word = (
            "no change that can be told from zero"
            if low <= 0 <= high
            else ("a gain" if gap > 0 else "a loss")
        )
        text.append(
            f"**Quality.** Attention F1 changes by {gap:+.1f} points [{low:+.1f}, {high:+.1f}]: "
            f"{word}."
        )
    hotter = (own.by_pair(last) > wrong.by_pair(wrong.temperature[-1])).mean()
    text.append(
        f"**Own image or wrong one.** The mean temperature of a caption's words is the higher "
        f"with its own image in {100 * hotter:.0f} % of the captions; without any relation it "
        "would be 50 %."
    )
    return Markdown("\n\n".join(text))


def most_moved(own: RegulatorTrace) -> int:
    """Return the caption whose attention moved most from the first pass to the last."""
    return int(np.argmax(own.by_pair(own.moved[-1])))


def way(scores: Mapping[str, Mapping[str, np.ndarray]], split: Split) -> pd.DataFrame:
    """Return the scores on the way, `regulation.scores_on_the_way`, own image and wrong one.

    *moved* is the mean distance to the score of the line before. The last columns are the mean
    of own minus wrong with its interval, and how often the own image has the larger score.
    """
    (own, wrong), before, rows = (scores[name] for name in ("own", "wrong")), None, []
    for step in own:
        gap = own[step] - wrong[step]
        row = {"stopped after": step, "own image": f"{own[step].mean():.3f}"}
        row["wrong image"] = f"{wrong[step].mean():.3f}"
        row["moved"] = "" if before is None else f"{np.abs(own[step] - own[before]).mean():.3f}"
        row["own minus wrong"] = f"{mean_over_images(gap, split.caption_image):+.3f}"
        rows.append(row | {"own is larger (%)": f"{100 * (gap > 0).mean():.1f}"})
        before = step
    return pd.DataFrame(rows)


# --- what is drawn -----------------------------------------------------------------------------


def panels(own: RegulatorTrace, wrong: RegulatorTrace) -> dict[str, dict[str, np.ndarray]]:
    """Return what `figures.distributions.shares` draws: every measure by pass, own and wrong.

    A pass in which a measure is the same for all by construction is left out: factors and
    attention before any correction.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for measure in ("temperature", "change", "clamped", "moved", "reach", "best"):
        each = values(own, measure)
        late = measure in ("change", "clamped", "moved")
        curves = {f"pass {k + 1}": one for k, one in enumerate(each) if not (late and k == 0)}
        curves["wrong image, last pass"] = values(wrong, measure)[-1]
        if len(each) > 1 or not late:
            found[MEASURES[measure]] = curves
    return found


def pooled_panels(
    motions: Mapping[str, tuple[RegulatorTrace, RegulatorTrace]],
) -> dict[str, dict[str, np.ndarray]]:
    """Return the share of the words that RAR pools in effect, by step, own images and wrong.

    ``motions`` hold the two for each named method.
    """
    found = {}
    for name, (own, wrong) in motions.items():
        curves = {f"step {k + 1}": 100 * row for k, row in enumerate(own.effective)}
        curves["wrong image, last step"] = 100 * wrong.effective[-1]
        found[f"{name}: words pooled in effect (%)"] = curves
    return found


def weights_by_kind(
    own: RegulatorTrace, kinds: Sequence[Sequence[str]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return RAR's weights in the first and the last step for the words of every kind."""
    label, last = of_queries(own, kinds), len(own.share) - 1
    return {
        kind: {f"step {k + 1}": own.share[k, label == kind] for k in dict.fromkeys((0, last))}
        for kind in KINDS
        if (label == kind).any()
    }


def heat_curves(own: RegulatorTrace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the change in temperature with what the attention gained (percent), word by word.

    Where the dataset does not know what words name: with the gain of the largest weight.
    """
    heat = own.temperature[-1] - own.temperature[0]
    known = ("f1", "mass") if not np.isnan(own.f1).all() else ("best",)
    found = {}
    for measure in known:
        each = values(own, measure)
        found[MEASURES[measure].removesuffix(" (%)")] = (heat, each[-1] - each[0])
    return found
