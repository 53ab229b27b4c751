"""Data that loads, and of which little or nothing can be learned: equal images, equal captions.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from itm_core.data.dataset import Dataset, Split
from itm_core.data.overlap import MAX_EQUAL
from itm_core.data.vocabulary import is_word
from itm_core.errors import InputError

MAX_REPEATED = 0.5  # share of a split's captions that are those of another one without a warning


def poverty(data: Dataset) -> list[str]:
    """Return what is suspicious in the images and captions of each split, with numbers."""
    lines = []
    for split in (data.train, data.dev, data.test):
        repeats = data.repeats[split.name]
        if repeats.equal > MAX_EQUAL * repeats.compared:
            lines.append(f"{split.name}: equal features: {repeats}")
        captions = len(split.captions)
        repeated, wordless = captions - len(set(split.captions)), _wordless(split)
        if repeated > MAX_REPEATED * captions:
            lines.append(f"{split.name}: {repeated} of {captions} captions repeat another one")
        if wordless:
            lines.append(f"{split.name}: {wordless} of {captions} captions have no word")
    return lines


def _wordless(split: Split) -> int:
    return sum(not is_word(caption) for caption in split.captions)


def require_informative(data: Dataset) -> None:
    """Raise `InputError` where nothing can be learned from the training split.

    That is where there is one image, all images have the same features, or all captions the same
    text or no word.
    """
    train, repeats = data.train, data.repeats["train"]
    if len(train.regions) == 1:
        raise InputError(
            "a single training image",
            file=train.folder / "train_ims.npy",
            expected="two or more: a ranking loss compares them",
            remedy="add images with their captions",
        )
    if repeats.all:
        raise InputError(
            "nothing can be learned from images that are all equal",
            file=train.folder / "train_ims.npy",
            found=repeats,
            remedy="extract the features again; itm check shows the other splits",
        )
    captions = len(train.captions)
    if captions > 1 == len(set(train.captions)) or _wordless(train) == captions:
        raise InputError(
            "nothing can be learned from captions that are all equal, or have no words",
            file=train.folder / "train_caps.txt",
            expected="captions that differ between images",
            found=f"{captions} captions such as {train.captions[0][:60]!r}",
        )
