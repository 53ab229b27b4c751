"""Cost of scoring and training: figures, targets, and the effect of reduced precision.

The targets are this project's own. On two CPU cores they are ratios to a reference that is timed
in turn; on one large GPU they are seconds for MSCOCO 5K (5,000 images with 25,000 captions,
D = 1024, K = 256) and for a training step of 128 pairs at Flickr30K's shapes.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from itm_book.bench.growth import exponent
from itm_book.datasets.run_features import run_features
from itm_book.figures.style import FAINT, INK, RIGHT, colour_of, finished, styled
from itm_book.tables import sentences
from itm_book.tables.run_links import linked, marked
from itm_core.data.dataset import Split
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import (
    encode_captions,
    encode_images,
    score_fragments,
    score_matrix,
)
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run
from itm_core.models import Matcher

MARKERS = (
    ("reference", "reference: loop over captions", FAINT, "o"),
    ("ours", "ours", INK, "D"),
    ("floor", "floor: the products alone", RIGHT, "|"),
    ("bare", "one product of all words with all regions", RIGHT, "."),
)

FAST = ("SCAN t2i", "SCAN i2t", "BFAN", "CHAN")
TIMES_REFERENCE = dict.fromkeys(FAST, 7.0) | dict.fromkeys(("SAF", "SGR", "RCAR-2 t2i"), 3.0)
TIMES_BARE = dict.fromkeys(FAST, 1.6)
MEMORY = {"cpu": 2, "cuda": 8}  # GiB while scoring
SECONDS = {"SCAN t2i": 0.6, "SCAN i2t": 0.6, "CHAN": 0.6, "BFAN": 1.2}
SECONDS |= {"SAF": 5.0, "SGR": 12.0, "RCAR-2 t2i": 30.0}
COCO_5K = {"images": 5000, "captions": 25000, "width": 1024, "similarity": 256}

PAIRS = 128  # of a training step
STEPS = {  # method: its recipe, milliseconds of a step with the hardest negatives
    "SCAN t2i": ("scan-t2i-mean-f30k", 15.0),
    "RCAR-2 t2i": ("rcar-t2i-f30k", 40.0),
    "SGR": ("sgr-f30k", 40.0),
}
GIB = 24.0  # of memory at most, for each of them

DROPPED_BITS = 13  # of a float32 fraction (23 bits); TF32 keeps ten
PRODUCT_FACTORS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}


# --- figures


def timing_chart(rows: pd.DataFrame) -> Figure:
    """Return the seconds of each method, its reference loop, its floor and the bare product.

    ``rows`` are those of `bench.record.scoring_rows`, of one machine, size and precision.
    """
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 1.5 + 0.42 * len(rows)))
        places = range(len(rows))
        axes.hlines(places, rows["bare"], rows["reference"], color=FAINT, lw=0.8, alpha=0.6)
        for column, label, colour, mark in MARKERS:
            size = 14 if mark == "|" else 7
            axes.plot(rows[column], places, mark, color=colour, label=label, ms=size, mew=2)
        axes.set_yticks(places, rows["method"])
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="seconds (median), left is better")
        axes.grid(axis="x", color=FAINT, alpha=0.2)
        axes.margins(y=0.1)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
        return finished(figure)


def scaling_chart(rows: pd.DataFrame) -> Figure:
    """Return time and memory against gallery size, one line per method.

    ``rows`` are those of `bench.record.growth_rows`, of one machine.
    """
    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2))
        for place, (name, points) in enumerate(rows.groupby("method", sort=False)):
            style = {"color": colour_of(str(name), place), "marker": "o", "ms": 4}
            power = exponent(points["images"].tolist(), points["seconds"].tolist())
            left.plot(
                points["images"], points["seconds"], label=f"{name}: power {power:.2f}", **style
            )
            right.plot(points["images"], points["peak"] / 1024, label=str(name), **style)
        left.set(yscale="log", ylabel="seconds", title="time")
        right.set(ylabel="peak memory (GiB)", title="memory", ylim=(0, None))
        for axes in (left, right):
            axes.set(xscale="log", xlabel="images in the gallery")
            axes.xaxis.set_major_formatter("{x:,.0f}")
            axes.set_xticks(sorted(set(rows["images"])))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="x", labelrotation=30)
        left.legend(fontsize=8.5)
        return finished(figure)


def finding(recorded: pd.DataFrame) -> HTML:
    """Return how much faster than the loop over captions the methods are, in words.

    ``recorded`` are rows of `bench.record.scoring_rows` of one machine, size and precision.
    """
    if recorded.empty:
        return sentences.finding("no timing is recorded yet.")
    ordered = recorded.sort_values("times_reference")
    slow, fast = ordered.iloc[0], ordered.iloc[-1]
    return sentences.finding(
        f"at the published size, scoring takes between {recorded['times_floor'].min():.1f} and "
        f"{recorded['times_floor'].max():.1f} times what its products alone would take, and is "
        f"{slow['times_reference']:.1f} ({escape(str(slow['method']))}) to "
        f"{fast['times_reference']:.1f} times ({escape(str(fast['method']))}) as fast as a loop "
        "over captions."
    )


# --- targets


def cpu_targets(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return for each method whether its CPU targets are met, and if not, why.

    ``recorded`` are rows of `bench.record.scoring_rows` of one machine, size and precision.
    Columns: ``method``, ``target``, ``measured``, ``met``, ``floor`` (the ratio of the products
    alone) and ``reason``.
    """
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for row in recorded[recorded["device"] == "cpu"].to_dict("records"):
        name = str(row["method"])
        if name in TIMES_REFERENCE:
            rows.append(_against_reference(row, TIMES_REFERENCE[name]))
        if name in TIMES_BARE:
            rows.append(_against_bare(row, TIMES_BARE[name]))
        commits += [row.get("commit")] * (len(rows) - len(commits))
    return marked(pd.DataFrame(rows), "measured", commits)


def _against_reference(row: Mapping, target: float) -> dict[str, str]:
    reached, limit = row["times_reference"], row["reference"] / row["floor"]
    return {
        "method": row["method"],
        "target": f"at least {target:.0f} x the speed of the loop over captions",
        "measured": f"{reached:.1f} x",
        "met": _yes(reached >= target),
        "floor": f"{limit:.1f} x",
        "reason": "" if reached >= target else _reason(row, limit < target),
    }


def _against_bare(row: Mapping, target: float) -> dict[str, str]:
    reached, limit = row["times_bare"], row["floor"] / row["bare"]
    return {
        "method": row["method"],
        "target": f"at most {target} x the bare product's time",
        "measured": f"{reached:.2f} x",
        "met": _yes(reached <= target),
        "floor": f"{limit:.2f} x",
        "reason": "" if reached <= target else _reason(row, limit > target),
    }


def _reason(row: Mapping, beyond: bool) -> str:
    if beyond:
        return "the products alone already take longer than the target"
    other = 1 - row["products"]
    return (
        f"{row['times_floor']:.1f} x the floor: {other:.0%} of the time is outside products, "
        "in softmax, norms and memory traffic"
    )


def gpu_targets(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return for each method whether scoring MSCOCO 5K on a GPU meets its target.

    Columns: ``method``, ``target`` and ``measured`` (seconds, TF32; *not run* without a record),
    ``met``, ``missed by`` (the factor), ``machine``.
    """
    timings = recorded[(recorded["device"] == "cuda") & (recorded["precision"] == "tf32")]
    for name, value in COCO_5K.items():
        timings = timings[timings[name] == value]
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for name, target in SECONDS.items():
        of_method = timings[timings["method"] == name]
        row = {"method": name, "target": f"at most {target} s"}
        if of_method.empty:
            rows.append(row | {"measured": "not run", "met": "", "missed by": "", "machine": ""})
            commits.append(None)
            continue
        best = of_method.sort_values("ours").iloc[0]
        commits.append(best.get("commit"))
        rows.append(
            row
            | {"measured": f"{best['ours']:.2f} s", "met": _yes(best["ours"] <= target)}
            | {"missed by": _missed(best["ours"], target), "machine": best["machine"]}
        )
    return marked(pd.DataFrame(rows), "measured", commits)


def training_targets(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return for each method whether a training step on a GPU meets its time and memory targets.

    ``recorded`` are rows of `bench.record.training_rows`. Of several rows of a method the fastest
    is used, for time and memory alike. Two rows per method, time then memory. Columns as those of
    `gpu_targets`.
    """
    timings = recorded[(recorded["device"] == "cuda") & (recorded["batch"] == PAIRS)]
    timings = timings[timings["negatives"] == "hardest"].sort_values("seconds", kind="stable")
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for name, (recipe, target) in STEPS.items():
        of_recipe = timings[timings["recipe"] == recipe]
        best = None if of_recipe.empty else of_recipe.iloc[0]
        time, memory = (None, None) if best is None else (1e3 * best["seconds"], best["peak"])
        machine = "" if best is None else f"{best['machine']} ({best['precision']})"
        commits += [None if best is None else best.get("commit")] * 2
        for limit, unit, value in ((target, "ms a step", time), (GIB, "GiB", memory)):
            rows.append(
                {
                    "method": name,
                    "target": f"at most {limit:.0f} {unit}",
                    "measured": "not run" if value is None else f"{value:.1f} {unit}",
                    "met": "" if value is None else _yes(value <= limit),
                    "missed by": "" if value is None else _missed(value, limit),
                    "machine": machine,
                }
            )
    return marked(pd.DataFrame(rows), "measured", commits)


def _missed(value: float, limit: float) -> str:
    return "" if value <= limit else f"{value / limit:.2f} x the target"


def gpu_checks(recorded: pd.DataFrame) -> pd.DataFrame:
    """Return whether a GPU gives a CPU's numbers: rows of `bench.record.check_rows`, for display.

    One row that says *not run* where nothing is recorded.
    """
    if recorded.empty:
        return pd.DataFrame([{"check": "all", "measured": "not run"}])
    pairs = list(zip(recorded["measured"], recorded["limit"], strict=True))
    columns = {
        "check": recorded["check"],
        "limit": [f"at most {limit:g}" for _, limit in pairs],
        "measured": [f"{value:.3g}" for value, _ in pairs],
        "met": [_yes(value <= limit) for value, limit in pairs],
        "missed by": [_missed(value, limit) for value, limit in pairs],
        "machine": recorded["machine"],
    }
    return marked(pd.DataFrame(columns), "measured", recorded["commit"])


def memory_targets(scaling: pd.DataFrame) -> pd.DataFrame:
    """Return whether scoring the largest recorded gallery meets its memory target.

    ``scaling`` are rows of `bench.record.growth_rows`. Columns: ``device``, ``target``,
    ``measured`` (GiB: the process on a CPU, memory allocated by torch on a GPU), ``met``,
    ``images``.
    """
    rows: list[dict[str, str]] = []
    commits: list[str | None] = []
    for device, limit in MEMORY.items():
        row = {"device": device, "target": f"at most {limit} GiB at any gallery size"}
        points = scaling[scaling["device"] == device]
        if points.empty:
            rows.append(row | {"measured": "not run", "met": "", "images": ""})
            commits.append(None)
            continue
        largest = points.sort_values("peak").iloc[-1]
        commits.append(largest.get("commit"))
        peak = largest["peak"] / 1024
        row |= {"measured": f"{peak:.2f} GiB", "met": _yes(peak <= limit)}
        rows.append(row | {"images": f"up to {points['images'].max():,}"})
    return marked(pd.DataFrame(rows), "measured", commits)


def _yes(met: bool) -> str:
    return "yes" if met else "no"


# --- precision


def precision_effect(
    runs: Mapping[str, Run], split: Split, precisions: Sequence[str] = ("tf32", "bfloat16")
) -> pd.DataFrame:
    """Return how scores and ranks change from float32 to each precision, on all pairs of a split.

    On a CPU, which has no TF32, `TF32Products` emulates it.

    Columns: ``method``, ``precision``, ``largest difference`` of a score, ``ranks moved`` (percent
    of queries whose best relevant item changes rank), ``R@1 i2t`` and ``R@1 t2i`` (the
    change in points), ``rSum`` (its change).
    """
    rows = []
    for name, run in runs.items():
        matcher, captions = run.matcher(), encode(split, run.vocabulary)
        features = run_features(run, split)
        plain = score_matrix(matcher, features, captions)
        for precision in precisions:
            reduced = _scores_in(matcher, features, captions, precision)
            changes = _changes(plain, reduced, split.caption_image)
            rows.append({"method": name, "precision": precision, **changes})
    places = [[run.place] for run in runs.values() for _ in precisions]
    return linked(pd.DataFrame(rows), {"method": places})


class TF32Products(TorchDispatchMode):
    """A context in which factors of float32 products keep ten bits of fraction, as in TF32.

    Further bits are truncated, not rounded: the less accurate of the two ways in which hardware
    converts. Sums are float32, as on a GPU.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return the result of one operation; of a product, with truncated factors."""
        places = PRODUCT_FACTORS.get(func.overloadpacket.__name__, ())
        arguments = [truncate_to_tf32(x) if k in places else x for k, x in enumerate(args)]
        return func(*arguments, **(kwargs or {}))


def truncate_to_tf32(x: Tensor) -> Tensor:
    """Return a float32 tensor with its fraction truncated to ten bits; other dtypes unchanged.

    >>> truncate_to_tf32(torch.tensor([1 + 2.0**-10 + 2.0**-11])).item() == 1 + 2.0**-10
    True
    """
    return (
        (x.view(torch.int32) >> DROPPED_BITS << DROPPED_BITS).view(x.dtype)
        if x.dtype == torch.float32
        else x
    )


def _scores_in(
    matcher: Matcher, features: np.ndarray, captions: Sequence[Sequence[int]], precision: str
) -> np.ndarray:
    """Return scores ``[I, C]`` in a precision, emulated where the device does not have it."""
    if precision != "tf32" or next(matcher.parameters()).device.type == "cuda":
        return score_matrix(matcher, features, captions, precision=precision)
    scores = np.empty((len(features), len(captions)), np.float32)
    regions = encode_images(matcher.eval(), features)
    for places, words in encode_captions(matcher, captions):
        with TF32Products():
            scores[:, places] = score_fragments(matcher, regions, words).numpy()
    return scores


def _changes(
    plain: np.ndarray, reduced: np.ndarray, caption_image: np.ndarray
) -> dict[str, float | str]:
    before, after = (retrieval.ranks(scores, caption_image) for scores in (plain, reduced))
    sides = [(before.i2t, after.i2t), (before.t2i, after.t2i)]
    moved = sum(int((a != b).sum()) for a, b in sides)
    first = [100 * float((b < 1).mean() - (a < 1).mean()) for a, b in sides]
    rsums = [retrieval.metrics(scores, caption_image).rsum for scores in (plain, reduced)]
    return {
        "largest difference": f"{np.abs(plain - reduced).max():.4f}",
        "ranks moved": 100 * moved / sum(len(a) for a, _ in sides),
        "R@1 i2t": first[0],
        "R@1 t2i": first[1],
        "rSum": rsums[1] - rsums[0],
    }
