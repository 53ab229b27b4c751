"""What a run retrieves: pictures where the dataset has them, or the next best thing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from itm_book.figures import results
from itm_book.tables import report
from itm_core.data.dataset import Split


def images_for(split: Split, scores: np.ndarray, caption: int) -> Figure | HTML:
    """Return the five best-scored images of a caption: pictures, or a list without them."""
    order = report.best(scores[:, caption])
    right = order == caption // split.captions_per_image
    pictures = [split.picture(k) for k in order]
    if all(picture is not None for picture in pictures):
        shown = [picture for picture in pictures if picture is not None]
        return results.retrieved_images(shown, scores[order, caption], right)
    ids = [split.ids[k] for k in order]
    return _list({"image": ids, "score": scores[order, caption], "right": right}, "Best images")


def searches(split: Split, scores: np.ndarray, count: int = 4) -> Figure | HTML:
    """Return the best images of each sentence, a row each; nobody says which are right.

    ``scores [I, C]`` are those of the split's images with its captions. Without pictures a list.
    """
    best = [report.best(column, count) for column in scores.T]
    pictures = [[split.picture(k) for k in places] for places in best]
    if any(picture is None for row in pictures for picture in row):
        named = [", ".join(split.ids[k] for k in places) for places in best]
        table = pd.DataFrame({"sentence": split.captions, "best images": named})
        return report.html(table, "Best images", wrap=True)
    shown = [[picture for picture in row if picture is not None] for row in pictures]
    values = [column[places] for column, places in zip(scores.T, best, strict=True)]
    return results.searched_images(split.captions, shown, values)


def captions_for(split: Split, scores: np.ndarray, image: int) -> Figure | HTML:
    """Return the five best-scored captions of an image, beside its picture if there is one."""
    order = report.best(scores[image])
    right = order // split.captions_per_image == image
    captions = [split.captions[k] for k in order]
    picture = split.picture(image)
    if picture is not None:
        return results.retrieved_captions(picture, captions, scores[image, order], right)
    columns = {"caption": captions, "score": scores[image, order], "right": right}
    return _list(columns, f"Best captions of image {split.ids[image]}")


def _list(columns: dict[str, object], caption: str) -> HTML:
    return report.html(pd.DataFrame(columns).assign(rank=range(1, 6)), caption)
