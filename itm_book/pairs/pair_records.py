"""One image and one caption as a method saw them, as numbers that a page can carry.

What `word_maps.explain` gives for one direction, here for every direction and every pass, with
boxes, the picture and what the words name: all that the explorer and the static figures draw.

Page: "First match"; "Figure gallery".
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image

from itm_book.pairs.word_maps import read_pairs
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import EMPTY_WORDS
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import attention_threshold, sets
from itm_core.evaluation.attention_quality import truth
from itm_core.experiments.runs import Run
from itm_core.models import DirectionOutput, Matcher
from itm_core.models.matcher import AttentionPass
from itm_core.models.pairing import REGIONS

LONGEST_SIDE = 480  # pixels of an embedded picture; more would not be seen on a page
DRAWN_SIDE = 160  # up to here lossless: JPEG's blocks would show when enlarged
THUMBNAIL_SIDE = 240  # of small pictures, where a page has many
Measures = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and a caption, whatever method looks at them; L words, R regions.

    Attributes:
        image: its id.
        words: the L tokens without ``<start>`` and ``<end>``.
        regions: R.
        size: width and height that boxes and picture have here.
        boxes: ``[R, 4]`` x1, y1, x2, y2 within ``size``; None where the dataset has none.
        picture: as a data URI, or None.
        named: for each word the boxes ``[K, 4]`` of the objects that it names, none for a word
            that names nothing; None where the dataset does not know.
    """

    image: str
    caption: str
    words: list[str]
    regions: int
    size: tuple[int, int]
    boxes: np.ndarray | None
    picture: str | None
    named: list[np.ndarray] | None

    def content(self) -> list[int]:
        """Return the places of the words worth a picture.

        Where the dataset says which words name an object, those; elsewhere every word of letters
        but articles, conjunctions, common prepositions and the like.
        """
        return content_words(self.words, self.named)


def content_words(words: Sequence[str], named: Sequence[Any] | None) -> list[int]:
    """Return the places of the words that say something, see `Pair.content`.

    ``named`` holds what is known of the things that each word names, nothing for most words.
    """
    if named is not None:
        return [k for k, things in enumerate(named) if things is not None and len(things)]
    return [k for k, w in enumerate(words) if w.isalpha() and w not in EMPTY_WORDS]


@dataclass(frozen=True, eq=False)
class Asking:
    """How one side asked the other; Q queries: the L words (t2i) or the R regions (i2t).

    Attributes:
        direction: ``t2i`` or ``i2t``.
        weights: ``[L, R]`` attention of every pass, as `word_maps.WordMaps` has it.
        temperature: ``[Q]`` of every pass.
        pooling: ``[Q]`` weights of every step of an aggregation that weighs; else empty.
        contribution: ``[Q]`` shares of the score.
        quality: for every pass precision, recall and F1 of each query, None for one with nothing
            to find; empty where the dataset does not know.
    """

    direction: str
    weights: list[np.ndarray]
    temperature: list[np.ndarray]
    pooling: list[np.ndarray]
    contribution: np.ndarray
    quality: list[list[Measures | None]]

    def measures(self) -> Measures | None:
        """Return precision, recall and F1 of the last pass, means over the queries that have them.

        None where the dataset does not know, or where there is nothing to find.
        """
        last = [found for found in self.quality[-1] if found] if self.quality else []
        if not last:
            return None
        precision, recall, f1 = np.mean(last, axis=0)
        return float(precision), float(recall), float(f1)


@dataclass(frozen=True, eq=False)
class PairRecord:
    """How a method scored a pair; the contributions of all directions and ``rest`` make the score.

    Attributes:
        rest: what no word or region shown accounts for: ``<start>``, ``<end>``, a bias.
    """

    name: str
    pair: Pair
    directions: list[Asking]
    rest: float
    score: float

    def asking(self, direction: str | None = None) -> Asking:
        """Return one direction, by default the first (words ask, in a method that has both).

        Raises `InputError` for a direction that the method does not have.
        """
        known = {asking.direction: asking for asking in self.directions}
        if direction is not None and direction not in known:
            raise InputError(
                "nothing looks that way in this method",
                found=f"{direction} of {self.name}",
                expected=f"one of {', '.join(known)}",
            )
        return self.directions[0] if direction is None else known[direction]

    def rounded(self) -> dict[str, Any]:
        """Return the method's side as plain numbers, rounded so that they still add up."""
        shares = [_rounded(asking.contribution, 6) for asking in self.directions]
        score = round(self.score, 6)
        directions = [
            {
                "direction": asking.direction,
                "weights": [_rounded(weights, 5) for weights in asking.weights],
                "temperature": [_rounded(values, 3) for values in asking.temperature],
                "pooling": [_rounded(values, 5) for values in asking.pooling],
                "shares": share,
                "quality": [[q and _rounded(np.array(q), 3) for q in p] for p in asking.quality],
            }
            for asking, share in zip(self.directions, shares, strict=True)
        ]
        rest = round(score - sum(map(sum, shares)), 6)
        return {"name": self.name, "score": score, "rest": rest, "directions": directions}

    def evidence(self) -> np.ndarray:
        """Return what each word adds to the score through each region, ``[L, R]``.

        A query's share is spread over what it looked at, by its attention in the last pass.
        Summed over regions: the words' shares where words ask; summed over words: the regions'
        where regions ask, less what they give ``<start>`` and ``<end>``. The score less all of it
        is what no word and no region shown accounts for.
        """
        found = np.zeros((len(self.pair.words), self.pair.regions))
        for asking in self.directions:
            share = asking.contribution[:, None if asking.direction == "t2i" else ...]
            found += asking.weights[-1] * share
        return found


def one_pair(records: Sequence[PairRecord]) -> Pair:
    """Return the pair that records are of; raises `InputError` for none, or for different pairs."""
    if not records:
        raise InputError("nothing to draw", expected="at least one record", found="none")
    pair = records[0].pair
    for other in records[1:]:
        here, there = ((r.image, r.words, r.regions) for r in (pair, other.pair))
        if here != there:
            raise InputError(
                "these records are not of one pair",
                expected=f"image {pair.image}, {' '.join(pair.words)!r}, {pair.regions} regions",
                found=f"image {other.pair.image}, {' '.join(other.pair.words)!r}, "
                f"{other.pair.regions} regions",
            )
    return pair


def pair_record(
    run: Run,
    split: Split,
    image: int,
    caption: int | str,
    *,
    name: str | None = None,
    matcher: Matcher | None = None,
) -> PairRecord:
    """Return how a run's matcher scored an image and a caption of ``split``.

    Args:
        caption: its place among all captions of the split (see `Split.place`), or a sentence of
            one's own, of which no truth is known.
        name: what the method is called beside others; by default its recipe.
        matcher: the run's, when it has been loaded before.

    Raises `InputError` for a method without attention.
    """
    (record,) = records_of(run, split, [(image, caption)], name=name, matcher=matcher)
    if not record.directions:
        raise InputError(
            "nothing attends here", found=run.recipe.name, expected="a method that attends"
        )
    return record


def records_of(
    run: Run,
    split: Split,
    pairs: Sequence[tuple[int, int | str]],
    *,
    name: str | None = None,
    matcher: Matcher | None = None,
    small: bool = False,
) -> list[PairRecord]:
    """Return how a run's matcher scored images and captions, all in one batch.

    Arguments are those of `pair_record`, with a pair of image and caption for each record;
    ``small`` embeds pictures of a few kB.
    A method without attention has no directions, and all of its score is rest.
    """
    texts = [_text(split, caption) for _, caption in pairs]
    reading = read_pairs(run, split, [image for image, _ in pairs], texts, matcher)
    records = []
    for row, ((image, caption), text) in enumerate(zip(pairs, texts, strict=True)):
        words = run.vocabulary.tokens(text)
        relevant = _relevant(split, image, caption, len(words))
        directions = [_asking(look, row, len(words), relevant) for look in reading.directions]
        score = float(reading.score[row])
        records.append(
            PairRecord(
                name=name or run.recipe.name,
                pair=pair(split, image, caption, words, small=small),
                directions=directions,
                rest=score - sum(float(asking.contribution.sum()) for asking in directions),
                score=score,
            )
        )
    return records


def _text(split: Split, caption: int | str) -> str:
    return caption if isinstance(caption, str) else split.captions[caption]


def pair(
    split: Split, image: int, caption: int | str, words: list[str], *, small: bool = False
) -> Pair:
    """Return what is known of an image and a caption; the words are a method's tokens."""
    picture, boxes = split.picture(image), split.boxes
    own = None if picture is None else (picture.shape[1], picture.shape[0])
    if split.sizes is not None:
        own = (int(split.sizes[image][0]), int(split.sizes[image][1]))
    uri, size = _embedded(picture, small) if picture is not None else (None, own)
    if size is None:  # boxes alone: as far as they reach
        reach = np.ones(2) if boxes is None else np.ceil(boxes[image].reshape(-1, 2).max(0))
        size = own = (int(reach[0]), int(reach[1]))
    assert own is not None  # with a picture, with sizes, or set just above
    scale = np.tile(np.array(size) / np.array(own), 2)
    named = _named(split, image, caption, len(words))
    return Pair(
        image=split.ids[image],
        caption=_text(split, caption),
        words=words,
        regions=split.regions.shape[1],
        size=size,
        boxes=None if boxes is None else boxes[image] * scale,
        picture=uri,
        named=None if named is None else [box * scale for box in named],
    )


def _asking(look: DirectionOutput, row: int, words: int, relevant: np.ndarray | None) -> Asking:
    """Return one direction of the pair in a row of the batch, whose caption has L ``words``."""
    words_ask, tokens = look.key_axis == REGIONS, slice(words + 2)  # behind them is padding
    inner = slice(1, words + 1) if words_ask else slice(None)  # the queries shown
    passes = [seen.weights[row, tokens, 0] for seen in look.passes]
    queries = look.passes[0].weights.shape[look.query_axis]
    quality = []
    if relevant is not None:
        found = torch.from_numpy(relevant)
        quality = [
            _measured(w[1:-1], found[1:-1]) if words_ask else _measured(w.T, found.T)
            for w in passes
        ]
    return Asking(
        direction="t2i" if words_ask else "i2t",
        weights=[weights[1:-1].numpy() for weights in passes],
        temperature=[_temperature(s, row, queries)[inner] for s in look.passes],
        pooling=[weights[row].flatten().numpy()[inner] for weights in look.pooling],
        contribution=look.contribution[row].flatten().numpy()[inner],
        quality=quality,
    )


def _temperature(seen: AttentionPass, row: int, queries: int) -> np.ndarray:
    value = seen.control.temperature
    return _each_query(value[row] if isinstance(value, torch.Tensor) else value, queries)


def _each_query(value: float | torch.Tensor, queries: int) -> np.ndarray:
    """Return a temperature that may be one for all as one for each query, ``[Q]``."""
    return torch.as_tensor(value, dtype=torch.float32).flatten().expand(queries).numpy()


def _measured(weights: torch.Tensor, relevant: torch.Tensor) -> list[Measures | None]:
    """Return precision, recall and F1 of each query, as `attention_measures.measure` counts."""
    line = attention_threshold(weights.shape[1])
    return [
        sets(row[None].double(), there[None], line) if there.any() else None
        for row, there in zip(weights, relevant, strict=True)
    ]


def _relevant(split: Split, image: int, caption: int | str, words: int) -> np.ndarray | None:
    """Return which regions show what each token names, ``[L + 2, R]``.

    None where the dataset does not know, for an image that is not the caption's own, and for a
    method that cuts the caption into other tokens.
    """
    if isinstance(caption, str) or split.caption_image[caption] != image:
        return None
    known = truth(split)
    if known is None:
        return None
    found = known[0][caption]
    return found if len(found) == words + 2 else None


def _named(split: Split, image: int, caption: int | str, words: int) -> list[np.ndarray] | None:
    """Return the boxes ``[K, 4]`` of what each token names, under the terms of `_relevant`."""
    if isinstance(caption, str) or split.caption_image[caption] != image:
        return None
    tokens, objects = split.words(), split.objects()
    if tokens is None or objects is None:
        return None
    boxes = np.array([thing["box"] for thing in objects[image]["objects"]], float).reshape(-1, 4)
    named = [boxes[(token or {}).get("objects", [])] for token in tokens[caption]]
    return named if len(named) == words else None


def _embedded(picture: np.ndarray, small: bool) -> tuple[str, tuple[int, int]]:
    """Return a picture ``[H, W, 3]`` as a data URI, made smaller if need be, and its size."""
    shown = Image.fromarray(np.ascontiguousarray(picture))
    kind = "webp" if small else "png" if max(shown.size) <= DRAWN_SIDE else "jpeg"
    side = THUMBNAIL_SIDE if small else LONGEST_SIDE
    shown.thumbnail((side, side))
    with BytesIO() as file:
        if kind == "png":
            shown.save(file, kind, optimize=True)
        else:
            shown.save(file, kind, quality=85)
        text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind};base64,{text}", shown.size


def _rounded(values: np.ndarray, digits: int) -> Any:
    """Return an array as nested lists of short numbers."""
    return np.asarray(values, np.float64).round(digits).tolist()
