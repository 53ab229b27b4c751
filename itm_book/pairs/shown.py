"""Return the pair that a notebook shows: the one that was asked for, or the last of a small split.

What is only shown never fails a run that is finished.

Page: "One experiment".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itm_core.data.dataset import Split


@dataclass(frozen=True)
class ShownPair:
    """An image of a split with one of its captions.

    Attributes:
        image: the image, counted from 0.
        caption: which of its captions, counted from 0.
        place: the index of the caption among all captions of the split.
        text: the caption; where another pair was asked for, a note says which.
    """

    image: int
    caption: int
    place: int
    text: str


def shown_pair(split: Split, image: int, caption: int = 0) -> ShownPair:
    """Return an image with one of its captions, to be shown.

    The last image stands for one that the split does not have, and the last caption of an image
    for one that the image does not have; ``text`` then says so.
    """
    chosen = _or_last(image, len(split.regions))
    own = np.flatnonzero(split.caption_image == chosen)
    number = _or_last(caption, len(own))
    text = split.captions[own[number]]
    if (chosen, number) != (image, caption):
        missing = f"image {image}" if chosen != image else f"caption {caption} of image {image}"
        text += (
            f" *(image {chosen}, caption {number}: the {split.name} split of "
            f"{len(split.regions)} images has no {missing}, counted from 0)*"
        )
    return ShownPair(chosen, number, int(own[number]), text)


def _or_last(number: int, count: int) -> int:
    return number if 0 <= number < count else count - 1
