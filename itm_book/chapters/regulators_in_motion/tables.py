"""Tables of what regulators change, and the kinds of words that some of them are grouped by.

Intervals are bootstraps over images; an image is drawn with its captions and all their words.

Page: "Regulators in motion".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.chapters.regulators_in_motion.measures import RegulatorTrace
from itm_book.scenes.captions import (
    GROUND_PHRASES,
    PLACE_PHRASES,
    PLURALS,
    RELATION_PHRASES,
    WORDS,
)
from itm_book.scenes.controls import meanings
from itm_book.tables import sentences
from itm_book.tables.over_images import UNKNOWN, Estimate, mean_over_images, over_drawn_images
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import EMPTY_WORDS
from itm_core.evaluation.statistics import Ranked, interval
from itm_core.experiments.prepare import Words, word_rows

MEASURES = {
    "temperature": "temperature λ",
    "factor_change": "channel factors, RMS distance from 1",
    "clamped": "channels at the clamp (%)",
    "effective_keys": "effective number of attended keys",
    "max_weight": "largest weight (%)",
    "shift": "attention shift from the first pass (%)",
    "mass": "attention mass on relevant regions (%)",
    "f1": "attention F1 (%)",
}
CHANGES = ("factor_change", "clamped", "shift")  # against the first pass: constant there
PERCENT = ("clamped", "max_weight", "shift", "mass", "f1")
ATTRIBUTE_KINDS = ("shape", "colour", "size", "texture", "number", "object word")
KINDS = (
    *ATTRIBUTE_KINDS,
    "relation or place",
    "ground",
    "other word",
    "stop word",
    "punctuation",
    "start and end",
)


def measure_values(trace: RegulatorTrace, measure: str) -> np.ndarray:
    """Return a measure of every pass and query, ``[K, Q]``, fractions in percent."""
    return getattr(trace, measure) * (100 if measure in PERCENT else 1)


def rank_correlation(x: np.ndarray, y: np.ndarray, images: np.ndarray) -> Estimate:
    """Return Spearman's correlation of ``x [N]`` and ``y [N]`` with its interval over images.

    Pairs with a NaN are left out.
    """
    valid = ~(np.isnan(x) | np.isnan(y))
    ranked = Ranked.of(x[valid], y[valid])
    value = ranked.spearman(valid[valid].astype(float))
    if valid.sum() < 3 or np.isnan(value):
        return UNKNOWN
    low, high = interval(over_drawn_images(ranked.spearman, images[valid]))
    return Estimate(value, float(low), float(high))


def pass_table(matching: RegulatorTrace, negative: RegulatorTrace | None = None) -> pd.DataFrame:
    """Return the distribution of every measure in every pass: ``median [5 %, 95 %]``.

    *raised (%)* is the percentage of queries whose value in the last pass is above that in the
    first; empty for `CHANGES`. The last column is the last pass with the images of ``negative``.
    Measures without a value are left out.
    """
    rows = []
    for measure, title in MEASURES.items():
        passes = measure_values(matching, measure)
        if np.isnan(passes).all():
            continue
        row = {"": title}
        row |= {f"pass {k + 1}": _spread(values) for k, values in enumerate(passes)}
        if len(passes) > 1:
            row["raised (%)"] = "" if measure in CHANGES else _raised(passes)
        if negative is not None:
            row["hard negative, last pass"] = _spread(measure_values(negative, measure)[-1])
        rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["interval"] = "5 % to 95 %"
    return table


def _raised(passes: np.ndarray) -> str:
    """Return the percentage of queries whose value rises from the first pass to the last."""
    valid = ~np.isnan(passes[[0, -1]]).any(0)
    return f"{100 * (passes[-1, valid] > passes[0, valid]).mean():.0f}"


def _spread(values: np.ndarray) -> str:
    if np.isnan(values).all():
        return ""
    low, median, high = np.nanpercentile(values, [5, 50, 95])
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


def kind_table(trace: RegulatorTrace, kinds: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return means over the words of each kind: temperature, F1 and RAR's weight by step.

    ``kinds`` are those of `word_kinds`. A weight of 1 is that of mean pooling. Raises ValueError
    where queries are regions.
    """
    label = query_kinds(trace, kinds)
    rows = []
    for kind in dict.fromkeys(k for k in KINDS if (label == k).any()):
        of_kind = label == kind
        row: dict[str, object] = {"words": kind, "number": str(of_kind.sum())}
        if np.ptp(trace.temperature) > 0:
            row["λ, last pass"] = f"{trace.temperature[-1, of_kind].mean():.2f}"
        f1 = trace.f1[:, of_kind]
        for k in (0, len(f1) - 1) if trace.has_quality else ():
            name = f"F1, pass {k + 1} (%)"
            row[name] = "" if np.isnan(f1[k]).all() else f"{100 * np.nanmean(f1[k]):.1f}"
        for k, weight in enumerate(trace.pooling[:, of_kind]):
            row[f"weight, step {k + 1}"] = f"{weight.mean():.2f}"
        rows.append(row)
    return pd.DataFrame(rows)


def contrast_table(
    matching: RegulatorTrace, negative: RegulatorTrace, split: Split
) -> pd.DataFrame:
    """Return how the last pass differs between matching images and hard negatives.

    Means over the queries of a pair, paired by caption; the difference with its 95 % interval
    over images, and the percentage of captions with the larger value for the matching image.
    """
    traces, rows = (matching, negative), []
    measures = {m: title for m, title in MEASURES.items() if m not in ("mass", "f1")}
    by_pair = {
        title: [trace.by_pair(measure_values(trace, m)[-1]) for trace in traces]
        for m, title in measures.items()
    }
    for k in range(len(matching.pooling)):
        by_pair[f"effective number of words, RAR step {k + 1} (% of all)"] = [
            100 * trace.effective_queries[k] for trace in traces
        ]
    for title, (match, mismatch) in by_pair.items():
        if np.isnan(match).all() or not (match - match[0]).any():
            continue  # the same for every pair
        rows.append(
            {
                "": title,
                "matching image": f"{match.mean():.2f}",
                "hard negative": f"{mismatch.mean():.2f}",
                "difference": f"{mean_over_images(match - mismatch, split.caption_image):+.3f}",
                "larger for the match (%)": f"{100 * (match > mismatch).mean():.1f}",
            }
        )
    return pd.DataFrame(rows)


def ablation_table(variants: Mapping[str, RegulatorTrace], split: Split) -> pd.DataFrame:
    """Return how each variant of RCR changes the attention from the first pass to the last.

    Means over words with relevant regions where the dataset has them, else over all queries;
    intervals over images. The last column is the difference to the first variant in the last
    pass, paired by word: of F1, or of the effective number of keys where F1 is unknown.
    """
    first_name, first = next(iter(variants.items()))
    compared = "f1" if first.has_quality else "effective_keys"
    rows = []
    for name, trace in variants.items():
        images, row = split.caption_image[trace.pair], {"variant": name}
        for measure in ("shift", "effective_keys", *(("mass", "f1") if first.has_quality else ())):
            passes = measure_values(trace, measure)
            change = passes[-1] - passes[0]
            change = (
                np.where(np.isnan(trace.f1[0]), np.nan, change) if first.has_quality else change
            )
            row[f"{MEASURES[measure]}, change"] = f"{mean_over_images(change, images):+.2f}"
        gap = measure_values(trace, compared)[-1] - measure_values(first, compared)[-1]
        difference = "" if trace is first else f"{mean_over_images(gap, images):+.2f}"
        row[f"{MEASURES[compared]}, difference to {first_name}"] = difference
        rows.append(row)
    return pd.DataFrame(rows)


def correlation_table(
    trace: RegulatorTrace, split: Split, kinds: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Return rank correlations over words of RCR's corrections with the change of the attention.

    The last column compares words within their kind only: a kind with easier attention and
    higher temperature would produce a correlation by itself.
    """
    images, label = split.caption_image[trace.pair], query_kinds(trace, kinds)
    corrections = {
        "temperature rise": trace.temperature[-1] - trace.temperature[0],
        "change of the channel factors": trace.factor_change[-1],
    }
    gains = {
        "gain in F1": trace.f1[-1] - trace.f1[0],
        "gain in mass on relevant regions": trace.mass[-1] - trace.mass[0],
    }
    if not trace.has_quality:
        gains = {"gain in largest weight": trace.max_weight[-1] - trace.max_weight[0]}
    rows = []
    for correction, x in corrections.items():
        for gain, y in gains.items():
            valid = ~np.isnan(y)
            row = {"": f"{correction}, {gain}", "words": str(valid.sum())}
            row["rank correlation"] = f"{rank_correlation(x, y, images):+.2f}"
            a, b = (_within_kinds(values, label, valid) for values in (x, y))
            row["within a kind of word"] = f"{rank_correlation(a, b, images):+.2f}"
            rows.append(row)
    return pd.DataFrame(rows)


def _within_kinds(values: np.ndarray, label: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return values minus the mean of their kind over the ``valid`` ones; NaN for the others."""
    series = pd.Series(np.where(valid, values, np.nan))
    return (series - series.groupby(label).transform("mean")).to_numpy()


def finding(trace: RegulatorTrace, split: Split) -> HTML:
    """Return what RCR does to the temperature, and whether that goes with better attention."""
    first, last = trace.temperature[[0, -1]]
    low, median, high = np.percentile(last, [5, 50, 95])
    text = (
        f"RCR raises the temperature of {100 * (last > first).mean():.0f} % of the words, from a "
        f"median of {np.median(first):.1f} to {median:.1f}, in nine of ten words between "
        f"{low:.1f} and {high:.1f}."
    )
    if trace.has_quality:
        images = split.caption_image[trace.pair]
        rho = rank_correlation(last - first, trace.f1[-1] - trace.f1[0], images)
        text += f" The rank correlation of the rise with the gain in attention F1 is {rho:+.2f}."
    return sentences.finding(text)


def largest_shift(trace: RegulatorTrace) -> int:
    """Return the caption with the largest mean attention shift from the first pass to the last."""
    return int(np.argmax(trace.by_pair(trace.shift[-1])))


def step_table(scores: Mapping[str, Mapping[str, np.ndarray]], split: Split) -> pd.DataFrame:
    """Return the scores of `measures.truncated_scores` for ``matching`` and ``negative`` images.

    *change* is the mean absolute difference to the row before. The last columns are the mean of
    matching minus negative with its interval, and how often the matching image scores higher.
    """
    matching, negative = scores["matching"], scores["negative"]
    before, rows = None, []
    for step in matching:
        gap = matching[step] - negative[step]
        change = "" if before is None else f"{np.abs(matching[step] - matching[before]).mean():.3f}"
        rows.append(
            {
                "stopped after": step,
                "matching image": f"{matching[step].mean():.3f}",
                "hard negative": f"{negative[step].mean():.3f}",
                "change": change,
                "difference": f"{mean_over_images(gap, split.caption_image):+.3f}",
                "match is larger (%)": f"{100 * (gap > 0).mean():.1f}",
            }
        )
        before = step
    return pd.DataFrame(rows)


# --- kinds of words ---------------------------------------------------------------------------


def word_kinds(split: Split, vocabulary: Words) -> list[list[str]]:
    """Return the kind of each token of every caption, one of `KINDS`; a piece has its word's.

    Tokens that refer to objects are known from the dataset; on Scenes the grammar also gives their
    attribute. Other tokens are sorted by a list of stop words. ``<start>`` and ``<end>`` are
    included. The dataset's information is ignored for a caption that the method tokenizes
    differently.
    """
    references = split.words()
    grammar = _grammar() if meanings(split) is not None else {}
    kinds = []
    for k, caption in enumerate(split.captions):
        tokens = vocabulary.tokens(caption)
        same_tokens = references is not None and len(references[k]) == len(tokens)
        entries = references[k] if references is not None and same_tokens else [None] * len(tokens)
        named = [bool(entry and entry.get("objects")) for entry in entries]
        inner = [_kind(*pair, grammar) for pair in zip(tokens, named, strict=True)]
        kinds.append(["start and end", *inner, "start and end"])
    rows = word_rows(split.captions, vocabulary)
    if rows is None:
        return kinds
    return [[of[word] for word in caption] for of, caption in zip(kinds, rows, strict=True)]


def _kind(token: str, named: bool, grammar: Mapping[str, str]) -> str:
    kind = grammar.get(token, "")
    if named:
        return kind if kind in ATTRIBUTE_KINDS else "object word"
    if not any(letter.isalnum() for letter in token):
        return "punctuation"
    if token in EMPTY_WORDS:
        return "stop word"
    return "other word" if kind in ATTRIBUTE_KINDS else kind or "other word"


def _grammar() -> dict[str, str]:
    """Return the kind of each word of the grammar of Scenes."""
    kinds = dict.fromkeys(_words_of(GROUND_PHRASES), "ground")
    kinds |= dict.fromkeys(_words_of(PLACE_PHRASES), "relation or place")
    kinds |= dict.fromkeys(_words_of(RELATION_PHRASES), "relation or place")
    kinds |= {"between": "relation or place", "two": "number"}
    for attribute, values in WORDS.items():
        for word in (word for words in values.values() for word in words):
            kinds[word] = attribute
            if attribute == "shape":
                kinds[PLURALS.get(word, f"{word}s")] = attribute
    return kinds


def _words_of(phrases: Mapping[str, str | Sequence[str]]) -> list[str]:
    groups = [[group] if isinstance(group, str) else group for group in phrases.values()]
    return [word for group in groups for phrase in group for word in phrase.split()]


def query_kinds(trace: RegulatorTrace, kinds: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the kind of every query, ``[Q]``; raises ValueError where queries are regions."""
    if trace.direction != "t2i":
        raise ValueError("queries are regions (i2t): only words have a kind")
    return np.array([kinds[c][k] for c, k in zip(trace.pair, trace.position, strict=True)])
