"""Scenes: matchers that cheat, and matchers that are blind. What a score must lie between.

``oracle`` reads the scene behind the picture and the meaning behind the caption; ``binding``
knows which attributes belong together but no relation; ``bag_of_words`` knows only which words
are true of something in the picture. Chance is in closed form. The blind copies are for
training a real matcher on data from which the words, or the regions, have been taken away.

Page: The Scenes data card.
"""

from __future__ import annotations

import json
import shutil
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.scenes.captions import ATTRIBUTES
from itm_book.scenes.world import MOST, Relations, relations
from itm_core.data.dataset import SPLITS, Split
from itm_core.errors import InputError
from itm_core.files import space_checked

MATCHERS = ("oracle", "binding", "bag_of_words")


class World:
    """The scenes of a split as arrays: attributes ``[I, 8]``, relations ``[I, 8, 8]``."""

    def __init__(self, images: list[dict[str, Any]]) -> None:
        shape = (len(images), MOST)
        self.real = np.zeros(shape, bool)
        self.attributes = {name: np.full(shape, "", dtype="<U12") for name in ATTRIBUTES}
        place = {name: np.zeros(shape, np.int64) for name in ("x", "y", "radius")}
        front = np.zeros((*shape, MOST), bool)
        self.ground = np.array([image["ground"] for image in images])
        for i, image in enumerate(images):
            for k, thing in enumerate(image["objects"]):
                self.real[i, k] = True
                front[i, k, thing["covers"]] = True
                for name, values in (self.attributes | place).items():
                    values[i, k] = thing[name]
        self.related = relations(place["x"], place["y"], place["radius"], front)

    def take(self, images: np.ndarray) -> World:
        """Return the world of some images alone, in the order given."""
        found = copy(self)
        found.real, found.ground = self.real[images], self.ground[images]
        found.attributes = {name: values[images] for name, values in self.attributes.items()}
        related = self.related
        found.related = Relations(
            places={name: table[images] for name, table in related.places.items()},
            pairs={name: table[images] for name, table in related.pairs.items()},
            between=related.between[images],
        )
        return found

    def fits(self, wanted: dict[str, str]) -> np.ndarray:
        """``[I, 8]`` bool: which objects have every wanted attribute."""
        found = self.real.copy()
        for name, value in wanted.items():
            found &= self.attributes[name] == value
        return found


def control_scores(split: Split, matcher: str) -> np.ndarray:
    """Return the scores ``[I, C]`` that a control gives a split of Scenes.

    Args:
        matcher: one of `MATCHERS`. ``oracle`` and ``binding`` give what a caption demands (the
            number of attributes, relations, places and grounds in it) where it is true of an
            image, and 0 elsewhere: of two true captions the fuller one is the likelier.
            ``bag_of_words`` gives the share of its words that are true of something there.

    Ties are many: rank them with ``ties="mean"``. Raises `InputError` for another dataset.
    """
    images, said = split.objects(), meanings(split)
    if images is None or said is None:
        raise InputError("controls need the truth that only Scenes has", file=_path(split))
    if matcher not in MATCHERS:
        raise InputError("unknown control", expected=f"one of {MATCHERS}", found=matcher)
    world = World(images)
    score = {"oracle": _true, "binding": _bound, "bag_of_words": words_true}[matcher]
    return np.stack([score(world, meaning) for meaning in said], axis=1).astype(np.float32)


def meanings(split: Split) -> list[dict[str, Any]] | None:
    """Return what each caption demands of an image; None for a split that is not of Scenes."""
    path = _path(split)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _path(split: Split) -> Path:
    return split.folder / f"{split.name}_meanings.json"


def words_true(world: World, meaning: dict[str, Any]) -> np.ndarray:
    """Return which share of a caption's words is true of something in each image, ``[I]``."""
    wanted = {pair for m in meaning["mentions"] for pair in m["wanted"].items()}
    found = [world.fits({name: value}).any(1) for name, value in sorted(wanted)]
    if meaning["ground"]:
        found.append(world.ground == meaning["ground"])
    return np.asarray(np.mean(found, axis=0))


def _bound(world: World, meaning: dict[str, Any]) -> np.ndarray:
    return _true(world, meaning | {"relation": None, "between": False, "place": None})


def _true(world: World, meaning: dict[str, Any]) -> np.ndarray:
    """``[I]`` what the caption demands where it is true, else 0."""
    said = sum(len(mention["wanted"]) for mention in meaning["mentions"])
    more = [meaning[part] for part in ("relation", "between", "place", "ground")]
    return holds(world, meaning) * (said + sum(map(bool, more)))


def holds(world: World, meaning: dict[str, Any]) -> np.ndarray:
    """``[I]`` bool: some choice of different objects makes the whole caption true."""
    mentions, fits = meaning["mentions"], []
    for mention in mentions:
        found = world.fits(mention["wanted"])
        if mention["count"] == 2:
            found &= found.sum(1, keepdims=True) >= 2
        fits.append(found)
    if meaning["place"]:
        fits[0] &= world.related.places[meaning["place"]]
    possible = fits[0]
    if len(fits) > 1:
        possible = _pairs(world, fits, meaning["relation"])
    if len(fits) > 2:
        possible = _triples(world, possible, fits[2], meaning["between"])
    true = np.asarray(possible.reshape(len(possible), -1).any(1))
    return true & (world.ground == meaning["ground"]) if meaning["ground"] else true


def _pairs(world: World, fits: list[np.ndarray], relation: str | None) -> np.ndarray:
    both = fits[0][:, :, None] & fits[1][:, None, :] & ~np.eye(MOST, dtype=bool)
    return both & world.related.pairs[relation] if relation else both


def _triples(world: World, both: np.ndarray, third: np.ndarray, between: bool) -> np.ndarray:
    other = ~np.eye(MOST, dtype=bool)
    all_three = both[..., None] & third[:, None, None, :] & other[:, None, :] & other[None]
    return all_three & world.related.between if between else all_three


def chance(images: int, captions_per_image: int) -> dict[str, float]:
    """Return R@K in percent of a matcher that guesses, in closed form.

    Text to image a caption has one right image of I; image to text an image has k right captions
    of k I, and one of them among the first K will do.
    """
    total = images * captions_per_image
    found = {}
    for cut in (1, 5, 10):
        found[f"t2i_r{cut}"] = 100.0 * min(1.0, cut / images)
        wrong = np.arange(total - captions_per_image - cut + 1, total - cut + 1) / np.arange(
            total - captions_per_image + 1, total + 1
        )
        found[f"i2t_r{cut}"] = 100.0 * (1.0 - float(np.prod(wrong)))
    return found


def blind_copy(folder: Path, out: Path, blind_to: str) -> Path:
    """Return a copy of a dataset from which the words, or the regions, have been taken.

    ``words``: every word becomes the same one, lengths stay. ``regions``: the images of each
    split change places, so that features say nothing of the captions. A matcher trained on the
    copy must score at chance. An ``out`` that exists is returned as it is.
    """
    if blind_to not in ("words", "regions"):
        raise InputError("unknown kind of blindness", expected="words or regions", found=blind_to)
    if out.exists():
        return out
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with space_checked(out):
        partial.mkdir(parents=True)
        for split in SPLITS:
            _blind_split(folder, partial, split, blind_to)
        partial.rename(out)
    return out


def _blind_split(folder: Path, out: Path, split: str, blind_to: str) -> None:
    features = np.load(folder / f"{split}_ims.npy", mmap_mode="r")
    captions = (folder / f"{split}_caps.txt").read_text(encoding="utf-8").splitlines()
    order = np.arange(len(features))
    if blind_to == "words":
        captions = [" ".join(["word"] * len(caption.split())) for caption in captions]
    else:
        order = np.random.default_rng(0).permutation(order)
    np.save(out / f"{split}_ims.npy", features[order])
    (out / f"{split}_caps.txt").write_text("".join(f"{c}\n" for c in captions), encoding="utf-8")
