"""Control matchers on Scenes: upper bounds from the ground truth, and chance level.

``oracle`` uses the scene of an image and the meaning of a caption; ``binding`` uses objects with
their attributes, without relations; ``bag_of_words`` uses single attributes only. Chance is in
closed form. Blind copies of the dataset, without word or without region content, are for training
a real matcher that must stay at chance.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

import shutil
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.scenes.captions import ATTRIBUTES
from itm_book.scenes.world import MAX_OBJECTS, Relations, relations
from itm_core.data.dataset import SPLITS, Split
from itm_core.errors import InputError
from itm_core.files import put, space_checked
from itm_core.json_files import read_json_value

MEANING = {"mentions", "ground", "relation", "between", "place"}
MATCHERS = ("oracle", "binding", "bag_of_words")


class SceneArrays:
    """The scenes of a split as arrays, padded to 8 objects.

    Attributes:
        real: ``[I, 8]`` bool: False for padding.
        attributes: ``[I, 8]`` by name.
        ground: ``[I]``.
        related: the relations between the objects of each image.
    """

    def __init__(self, images: list[dict[str, Any]]) -> None:
        shape = (len(images), MAX_OBJECTS)
        self.real = np.zeros(shape, bool)
        self.attributes = {name: np.full(shape, "", dtype="<U12") for name in ATTRIBUTES}
        place = {name: np.zeros(shape, np.int64) for name in ("x", "y", "radius")}
        front = np.zeros((*shape, MAX_OBJECTS), bool)
        self.ground = np.array([image["ground"] for image in images])
        for i, image in enumerate(images):
            for k, thing in enumerate(image["objects"]):
                self.real[i, k] = True
                front[i, k, thing["covers"]] = True
                for name, values in (self.attributes | place).items():
                    values[i, k] = thing[name]
        self.related = relations(place["x"], place["y"], place["radius"], front)

    def take(self, images: np.ndarray) -> SceneArrays:
        """Return the scenes of ``images``, in that order."""
        taken = copy(self)
        taken.real, taken.ground = self.real[images], self.ground[images]
        taken.attributes = {name: values[images] for name, values in self.attributes.items()}
        related = self.related
        taken.related = Relations(
            places={name: table[images] for name, table in related.places.items()},
            pairs={name: table[images] for name, table in related.pairs.items()},
            between=related.between[images],
        )
        return taken

    def fits(self, wanted: dict[str, str]) -> np.ndarray:
        """Return which objects have every wanted attribute, ``[I, 8]`` bool."""
        fitting = self.real.copy()
        for name, value in wanted.items():
            fitting &= self.attributes[name] == value
        return fitting


def control_scores(split: Split, matcher: str) -> np.ndarray:
    """Return the scores ``[I, C]`` of a control matcher on a split of Scenes.

    Args:
        matcher: one of `MATCHERS`. ``oracle`` and ``binding`` score a caption that is true of an
            image by its number of conditions (attributes, relations, places and grounds), and
            any other pair 0: of two true captions the more specific one is more likely.
            ``bag_of_words`` scores the fraction of the attributes that some object has.

    There are many ties: rank with ``ties="mean"``. Raises `InputError` for another dataset.
    """
    images, caption_meanings = split.objects(), meanings(split)
    if images is None or caption_meanings is None:
        raise InputError(
            "control matchers need the ground truth of Scenes",
            file=_path(split),
            expected="a split of a Scenes dataset",
        )
    if matcher not in MATCHERS:
        raise InputError("unknown control", expected=f"one of {MATCHERS}", found=matcher)
    scenes = SceneArrays(images)
    score_of = {
        "oracle": _oracle_score,
        "binding": _binding_score,
        "bag_of_words": true_word_fraction,
    }[matcher]
    scores = [score_of(scenes, meaning) for meaning in caption_meanings]
    return np.stack(scores, axis=1).astype(np.float32)


def meanings(split: Split) -> list[dict[str, Any]] | None:
    """Return the meaning of each caption; None for a split that is not of Scenes.

    Raises `InputError` for a file of another format.
    """
    path = _path(split)
    if not path.exists():
        return None
    rows = read_json_value(path)
    if (
        not isinstance(rows, list)
        or len(rows) != len(split.captions)
        or not all(isinstance(row, dict) and row.keys() >= MEANING for row in rows)
    ):
        raise InputError(
            "not the meanings of the captions",
            file=path,
            expected=f"a list of {len(split.captions)} objects with {', '.join(sorted(MEANING))}",
            remedy="make the dataset again: itm scenes",
        )
    return rows


def _path(split: Split) -> Path:
    return split.folder / f"{split.name}_meanings.json"


def true_word_fraction(scenes: SceneArrays, meaning: dict[str, Any]) -> np.ndarray:
    """Return the fraction of a caption's attributes that some object of each image has, ``[I]``."""
    wanted = {pair for m in meaning["mentions"] for pair in m["wanted"].items()}
    true = [scenes.fits({name: value}).any(1) for name, value in sorted(wanted)]
    if meaning["ground"]:
        true.append(scenes.ground == meaning["ground"])
    return np.asarray(np.mean(true, axis=0))


def _binding_score(scenes: SceneArrays, meaning: dict[str, Any]) -> np.ndarray:
    return _oracle_score(scenes, meaning | {"relation": None, "between": False, "place": None})


def _oracle_score(scenes: SceneArrays, meaning: dict[str, Any]) -> np.ndarray:
    """Return the number of conditions of the caption where it is true, else 0, ``[I]``."""
    attributes = sum(len(mention["wanted"]) for mention in meaning["mentions"])
    others = [meaning[part] for part in ("relation", "between", "place", "ground")]
    return holds(scenes, meaning) * (attributes + sum(map(bool, others)))


def holds(scenes: SceneArrays, meaning: dict[str, Any]) -> np.ndarray:
    """Return whether some assignment of distinct objects makes the caption true, ``[I]`` bool."""
    mentions, fits = meaning["mentions"], []
    for mention in mentions:
        fitting = scenes.fits(mention["wanted"])
        if mention["count"] == 2:
            fitting &= fitting.sum(1, keepdims=True) >= 2
        fits.append(fitting)
    if meaning["place"]:
        fits[0] &= scenes.related.places[meaning["place"]]
    possible = fits[0]
    if len(fits) > 1:
        possible = _pairs(scenes, fits, meaning["relation"])
    if len(fits) > 2:
        possible = _triples(scenes, possible, fits[2], meaning["between"])
    true = np.asarray(possible.reshape(len(possible), -1).any(1))
    return true & (scenes.ground == meaning["ground"]) if meaning["ground"] else true


def _pairs(scenes: SceneArrays, fits: list[np.ndarray], relation: str | None) -> np.ndarray:
    both = fits[0][:, :, None] & fits[1][:, None, :] & ~np.eye(MAX_OBJECTS, dtype=bool)
    return both & scenes.related.pairs[relation] if relation else both


def _triples(scenes: SceneArrays, both: np.ndarray, third: np.ndarray, between: bool) -> np.ndarray:
    other = ~np.eye(MAX_OBJECTS, dtype=bool)
    all_three = both[..., None] & third[:, None, None, :] & other[:, None, :] & other[None]
    return all_three & scenes.related.between if between else all_three


def chance(images: int, captions_per_image: int) -> dict[str, float]:
    """Return R@K in percent of random ranking, in closed form.

    Text to image, a caption has one relevant image of I. Image to text, an image has k relevant
    captions of k I, and one of them must be among the first K.
    """
    total = images * captions_per_image
    recall = {}
    for cut in (1, 5, 10):
        recall[f"t2i_r{cut}"] = 100.0 * min(1.0, cut / images)
        wrong = np.arange(total - captions_per_image - cut + 1, total - cut + 1) / np.arange(
            total - captions_per_image + 1, total + 1
        )
        recall[f"i2t_r{cut}"] = 100.0 * (1.0 - float(np.prod(wrong)))
    return recall


def blind_copy(folder: Path, out: Path, blind_to: str) -> Path:
    """Return a copy of a dataset in which one modality carries no information.

    ``words``: every word is replaced by the same one; lengths stay. ``regions``: the images of
    each split are permuted, so that features are independent of the captions. A matcher trained
    on the copy must score at chance. An existing ``out`` is returned unchanged.

    Raises `InputError` for another value of ``blind_to``.
    """
    if blind_to not in ("words", "regions"):
        raise InputError("unknown value of blind_to", expected="words or regions", found=blind_to)
    if out.exists():
        return out
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with space_checked(out):
        partial.mkdir(parents=True)
        for split in SPLITS:
            _blind_split(folder, partial, split, blind_to)
        put(partial, out)
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
