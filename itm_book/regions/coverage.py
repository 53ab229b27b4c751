"""The share of people's boxes that the regions of a dataset cover: how region proposals are judged.

A phrase of a caption refers to the boxes of its chain (`itm_book.datasets.entities`). It counts
once in every caption that has it, and is covered when at least one region of its photograph has an
IoU of at least one half with at least one of its boxes. With the union of the boxes, or with every
one of them to be covered, shares would be smaller.

Regions of photographs resemble each other (the whole picture, large boxes in the middle), so a
share by itself says little: beside it stands that of the regions of another photograph, drawn at
random and scaled to this one, for each of `DRAWS` draws of all photographs.

Page: "From photographs to features".
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.evaluation import attention_quality
from itm_core.evaluation.attention_quality import IOU

DRAWS = 5  # of another photograph for every photograph
ALL = "all"


@dataclass(frozen=True, eq=False)
class PhraseBoxes:
    """The N boxes of the P phrases of a split that have some, sorted by image and phrase.

    Attributes:
        box: ``[N, 4]`` float64, x1, y1, x2, y2 in pixels of the picture at hand.
        image: ``[N]`` the image of each box.
        phrase: ``[N]`` the phrase that a box is of, 0 to P - 1; a box may occur for several.
        kinds: the types of each of the P phrases; some have two.
    """

    box: np.ndarray
    image: np.ndarray
    phrase: np.ndarray
    kinds: list[tuple[str, ...]]

    def of_kind(self, kind: str) -> np.ndarray:
        """Return ``[P]`` whether each phrase is of a type; ``all`` is true for every phrase."""
        return np.array([kind == ALL or kind in kinds for kinds in self.kinds], bool)


def phrase_boxes(split: Split) -> PhraseBoxes:
    """Return the boxes of the phrases that ``{split}_words.json`` annotates.

    Tokens of a caption with the same ``phrase`` are one phrase; a token without that key (as on
    Scenes) is a phrase by itself. Raises `InputError` for a split without annotated words.
    """
    words, objects = split.words(), split.objects()
    unannotated = InputError(
        "no words with boxes",
        file=split.folder / f"{split.name}_words.json",
        remedy=f"itm data entities {shlex.quote(str(split.folder))}",
    )
    if words is None or objects is None:
        raise unannotated
    boxes: list[list[float]] = []
    images: list[int] = []
    phrases: list[int] = []
    kinds: list[tuple[str, ...]] = []
    for caption, image in zip(words, split.caption_image.tolist(), strict=True):
        by_phrase = {
            entry.get("phrase", f"token {token}"): entry
            for token, entry in enumerate(caption)
            if entry and entry["objects"]
        }
        for entry in by_phrase.values():
            boxes += [objects[image]["objects"][k]["box"] for k in entry["objects"]]
            images += [image] * len(entry["objects"])
            phrases += [len(kinds)] * len(entry["objects"])
            kinds.append(tuple(entry.get("kinds", ())))
    if not kinds:
        raise unannotated
    return PhraseBoxes(
        np.array(boxes, np.float64), np.array(images, int), np.array(phrases, int), kinds
    )


def relevant_regions(phrases: PhraseBoxes, regions: np.ndarray, *, iou: float = IOU) -> np.ndarray:
    """Return ``[P]`` how many regions have at least this IoU with a box of each phrase.

    A region that has it with several boxes of a phrase counts once. ``regions`` are
    ``[I, R, 4]``, in the same pixels as the boxes.
    """
    relevant = np.zeros((len(phrases.kinds), regions.shape[1]), bool)
    bounds = np.searchsorted(phrases.image, np.arange(len(regions) + 1))
    for image, (start, end) in enumerate(pairwise(bounds)):
        candidates = np.asarray(regions[image], np.float64)
        overlap = attention_quality.iou(phrases.box[start:end], candidates)
        np.logical_or.at(relevant, phrases.phrase[start:end], overlap >= iou)
    return relevant.sum(1)


def coverage(
    split: Split,
    iou: float = IOU,
    *,
    regions: np.ndarray | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the coverage of phrases by regions, in a row for all and one for each type.

    Columns: ``phrases`` (number with a box), ``covered`` and ``regions of another photograph``
    (shares, 0 to 1), ``relevant regions`` (mean number of a covered phrase; NaN where none is). A
    phrase of two types is in both rows. The second share is the mean of `DRAWS` draws in which no
    photograph gets its own regions; NaN for a split of one photograph.

    Args:
        iou: least intersection over union of a region and a box, above 0, at most 1.
        regions: ``[I, R, 4]`` proposals in pixels; those of the split by default.
        seed: of the draws.

    Raises `InputError` for a split without annotated words, or without boxes of regions.
    """
    if not 0 < iou <= 1:
        raise InputError("not an IoU", expected="above 0, at most 1", found=iou)
    phrases = phrase_boxes(split)
    regions = split.boxes if regions is None else regions
    if regions is None:
        raise InputError("no boxes of regions", file=split.folder / f"{split.name}_boxes.npy")
    counts = relevant_regions(phrases, regions, iou=iou)
    draw = np.random.default_rng(seed)
    drawn = [_of_another(split, regions, draw) for _ in range(DRAWS if len(regions) > 1 else 0)]
    others = [relevant_regions(phrases, boxes, iou=iou) > 0 for boxes in drawn]
    by_chance = np.mean(others, 0) if others else np.full(len(counts), np.nan)
    rows = {}
    for kind in (ALL, *sorted({kind for kinds in phrases.kinds for kind in kinds})):
        chosen = phrases.of_kind(kind)
        relevant = chosen & (counts > 0)
        if chosen.any():
            rows[kind] = {
                "phrases": int(chosen.sum()),
                "covered": float((counts[chosen] > 0).mean()),
                "regions of another photograph": float(by_chance[chosen].mean()),
                "relevant regions": float(counts[relevant].mean()) if relevant.any() else np.nan,
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("type")


def _of_another(split: Split, regions: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Return for each image the regions of another one, scaled to its size.

    Images are put in a random circle, and each gets the regions of the next.
    """
    order = draw.permutation(len(regions))
    other = np.empty_like(order)
    other[order] = np.roll(order, -1)
    boxes = np.asarray(regions[other], np.float64)
    if split.sizes is None:
        return boxes
    sizes = np.asarray(split.sizes, np.float64)
    return boxes * np.tile(sizes / sizes[other], 2)[:, None]
