"""Retrieved images and captions of a run: pictures, or a table where the dataset has none.

Page: "First match"; "Your pictures".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from itm_book.figures.style import FAINT, INK, RIGHT, finished, styled
from itm_book.tables import report
from itm_core.data.dataset import Split


def images_for(split: Split, scores: np.ndarray, caption: int) -> Figure | HTML:
    """Return the five best-scored images of a caption; a table where there are no pictures."""
    order = report.best(scores[:, caption])
    right = order == split.caption_image[caption]
    pictures = [split.picture(k) for k in order]
    if all(picture is not None for picture in pictures):
        shown = [picture for picture in pictures if picture is not None]
        return retrieved_images(shown, scores[order, caption], right)
    ids = [split.ids[k] for k in order]
    return _list({"image": ids, "score": scores[order, caption], "right": right}, "Best images")


def searches(split: Split, scores: np.ndarray, count: int = 4) -> Figure | HTML:
    """Return the best images of each sentence, a row each, without relevance.

    ``scores [I, C]`` are those of the split's images with its captions. A table where there are
    no pictures.
    """
    best = [report.best(column, count) for column in scores.T]
    pictures = [[split.picture(k) for k in places] for places in best]
    if any(picture is None for row in pictures for picture in row):
        ids = [", ".join(split.ids[k] for k in places) for places in best]
        table = pd.DataFrame({"sentence": split.captions, "best images": ids})
        return report.html(table, "Best images")
    shown = [[picture for picture in row if picture is not None] for row in pictures]
    values = [column[places] for column, places in zip(scores.T, best, strict=True)]
    return searched_images(split.captions, shown, values)


def captions_for(split: Split, scores: np.ndarray, image: int) -> Figure | HTML:
    """Return the five best-scored captions of an image, with its picture if there is one."""
    order = report.best(scores[image])
    right = split.caption_image[order] == image
    captions = [split.captions[k] for k in order]
    picture = split.picture(image)
    if picture is not None:
        return retrieved_captions(picture, captions, scores[image, order], right)
    columns = {"caption": captions, "score": scores[image, order], "right": right}
    return _list(columns, f"Best captions of image {split.ids[image]}")


def _list(columns: dict[str, object], caption: str) -> HTML:
    table = pd.DataFrame(columns)
    return report.html(table.assign(rank=range(1, len(table) + 1)), caption)


def retrieved_images(
    pictures: Sequence[np.ndarray], scores: Sequence[float], right: Sequence[bool]
) -> Figure:
    """Return the best-scored pictures of a caption in order; relevant ones are framed."""
    with styled():
        figure, grid = plt.subplots(
            1, len(pictures), figsize=(1.75 * len(pictures), 2.2), squeeze=False
        )
        for rank, (axes, picture, score, is_right) in enumerate(
            zip(grid[0], pictures, scores, right, strict=True), 1
        ):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{rank}. {'right' if is_right else ''}", fontsize=9)
            axes.set_xlabel(f"score {score:.3f}", fontsize=8.5)
            for side in axes.spines.values():
                side.set(
                    visible=True, lw=3.5 if is_right else 0.8, color=RIGHT if is_right else FAINT
                )
        return finished(figure)


def searched_images(
    sentences: Sequence[str],
    pictures: Sequence[Sequence[np.ndarray]],
    scores: Sequence[Sequence[float]],
) -> Figure:
    """Return the best-scored pictures of several sentences, a row each, best first."""
    rows, columns = len(sentences), max(map(len, pictures))
    with styled():
        figure = plt.figure(figsize=(1.9 * columns, 2.3 * rows), layout="constrained")
        parts = figure.subfigures(rows, 1, squeeze=False)[:, 0]
        for part, sentence, shown, values in zip(parts, sentences, pictures, scores, strict=True):
            part.suptitle(f"“{sentence}”", x=0.01, ha="left", fontsize=10)
            row = part.subplots(1, columns, squeeze=False)[0]
            for axes in row:
                axes.set_axis_off()
            for axes, picture, value in zip(row, shown, values, strict=False):
                axes.set_axis_on()
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.set_xlabel(f"score {value:.3f}", fontsize=8.5)
        return finished(figure)


def retrieved_captions(
    picture: np.ndarray, captions: Sequence[str], scores: Sequence[float], right: Sequence[bool]
) -> Figure:
    """Return a picture with its best-scored captions in order; its own captions are marked right.

    Another picture's caption may also be true of this one, so it is marked "other", not wrong.
    """
    with styled():
        figure, (left, text) = plt.subplots(
            1, 2, figsize=(8.2, 2.4), gridspec_kw={"width_ratios": [1, 3.2]}
        )
        left.imshow(picture)
        left.set(xticks=[], yticks=[])
        text.set_axis_off()
        for rank, (caption, score, is_right) in enumerate(
            zip(captions, scores, right, strict=True)
        ):
            mark, colour = ("right", RIGHT) if is_right else ("other", INK)
            shown = caption if len(caption) < 72 else caption[:69] + "…"
            text.text(
                0,
                0.92 - rank * 0.19,
                f"{rank + 1}. {mark}  {score:.3f}",
                color=colour,
                fontsize=8.5,
                fontweight="bold",
                transform=text.transAxes,
            )
            text.text(0.2, 0.92 - rank * 0.19, shown, fontsize=8.5, transform=text.transAxes)
        return finished(figure)
