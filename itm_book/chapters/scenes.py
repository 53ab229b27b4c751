"""Controls of the Scenes dataset, and the lengths of its captions.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.figures.style import finished, styled
from itm_book.tables import sentences
from itm_core.data.dataset import Split
from itm_core.evaluation import retrieval

RECALLS = ("i2t_r1", "i2t_r10", "t2i_r1", "t2i_r10")


def controls_table(scores: Mapping[str, np.ndarray], chance: Mapping[str, float]) -> pd.DataFrame:
    """Return the recalls of control matchers with 95 % intervals, and those of chance."""
    rows = []
    for name, matrix in scores.items():
        recalls = retrieval.metrics(matrix, ties="mean").flat()
        limits = retrieval.interval(retrieval.hits(matrix, ties="mean"))
        row: dict[str, object] = {"matcher": name}
        for key in RECALLS:
            low, high = limits[key]
            row[_title(key)] = f"{recalls[key]:.1f} [{low:.1f}, {high:.1f}]"
        rows.append(row)
    chance_row: dict[str, object] = {"matcher": "chance"}
    chance_row |= {_title(key): f"{chance[key]:.1f}" for key in RECALLS}
    return pd.DataFrame([*rows, chance_row])


def finding(scores: Mapping[str, np.ndarray], chance: Mapping[str, float]) -> HTML:
    """Return text to image R@1 of every control matcher and of chance."""
    recalls = {name: retrieval.metrics(m, ties="mean").flat() for name, m in scores.items()}
    shown = [f"{r['t2i_r1']:.1f} ({escape(name)})" for name, r in recalls.items()]
    return sentences.finding(
        f"text to image R@1 of the controls is {', '.join(shown)}, and "
        f"{chance['t2i_r1']:.1f} by chance."
    )


def _title(key: str) -> str:
    side, cut = key.split("_r")
    return f"{'image to text' if side == 'i2t' else 'text to image'} R@{cut}"


def caption_lengths(split: Split) -> Figure:
    """Return the number of tokens of captions, by the number of objects in their picture.

    ``split`` is of a dataset with known words and objects, such as Scenes.
    """
    words, objects = split.words(), split.objects()
    assert words is not None  # of Scenes
    assert objects is not None
    counts = [len(picture["objects"]) for picture in objects]
    return length_histogram(
        [len(tokens) for tokens in words], [counts[k] for k in split.caption_image]
    )


def length_histogram(lengths: Sequence[int], objects: Sequence[int]) -> Figure:
    """Return a box plot of caption lengths by the number of objects in the picture."""
    table = pd.DataFrame({"tokens": lengths, "objects in the picture": objects})
    with styled():
        figure, axes = plt.subplots(figsize=(8.2, 2.8))
        sns.boxplot(
            table, x="objects in the picture", y="tokens", ax=axes, color="#9cc4e0", fliersize=1.5
        )
        axes.set(title="Caption length by the number of objects")
        return finished(figure)
