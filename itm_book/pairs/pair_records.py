"""The explained score of one image and one caption, for the explorer and the static figures.

Like `word_maps.explain`, for every direction and every pass, with boxes, the picture and the
boxes of annotated words.

Page: "First match"; "Figure gallery".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from itm_book.pairs.embedded_pictures import embedded
from itm_book.pairs.word_maps import read_pairs
from itm_core.data.dataset import Split
from itm_core.data.vocabulary import EMPTY_WORDS
from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import attention_threshold, precision_recall_f1
from itm_core.evaluation.attention_quality import truth
from itm_core.evaluation.joined_words import Rule, join_pieces
from itm_core.experiments.prepare import word_rows
from itm_core.experiments.runs import Run
from itm_core.models import DirectionOutput, Matcher
from itm_core.models.matcher import AttentionPass
from itm_core.models.pairing import REGIONS

Measures = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and a caption, independent of the method; L words, R regions.

    Attributes:
        image: its id.
        words: the L tokens without ``<start>`` and ``<end>``.
        regions: R.
        size: width and height of the picture, the coordinates of boxes.
        boxes: ``[R, 4]`` x1, y1, x2, y2 within ``size``; None where the dataset has none.
        picture: as a data URI, or None.
        true_boxes: for each word the boxes ``[K, 4]`` of the objects that it names, empty for a
            word without objects; None without annotations.
    """

    image: str
    caption: str
    words: list[str]
    regions: int
    size: tuple[int, int]
    boxes: np.ndarray | None
    picture: str | None
    true_boxes: list[np.ndarray] | None

    def content(self) -> list[int]:
        """Return the indices of the content words.

        With annotations, the words that name an object; otherwise every alphabetic word except
        articles, conjunctions, common prepositions and similar.
        """
        return content_words(self.words, self.true_boxes)


def content_words(words: Sequence[str], objects: Sequence[Any] | None) -> list[int]:
    """Return the indices of the content words, see `Pair.content`.

    ``objects`` holds the annotated objects of each word, if the dataset has annotations.
    """
    if objects is not None:
        return [
            k for k, references in enumerate(objects) if references is not None and len(references)
        ]
    return [k for k, w in enumerate(words) if w.isalpha() and w not in EMPTY_WORDS]


@dataclass(frozen=True, eq=False)
class DirectionRecord:
    """Attention in one direction; Q queries: the L words (t2i) or the R regions (i2t).

    Attributes:
        direction: ``t2i`` or ``i2t``.
        weights: ``[L, R]`` attention of every pass, as in `word_maps.WordMaps`.
        temperature: ``[Q]`` of every pass.
        pooling: ``[Q]`` weights of every step of a weighted aggregation; else empty.
        contribution: ``[Q]`` contribution of each query to the score.
        quality: for every pass precision, recall and F1 of each query, None for a query without
            relevant keys; empty without annotations.
    """

    direction: str
    weights: list[np.ndarray]
    temperature: list[np.ndarray]
    pooling: list[np.ndarray]
    contribution: np.ndarray
    quality: list[list[Measures | None]]

    def measures(self) -> Measures | None:
        """Return precision, recall and F1 of the last pass, means over the queries that have them.

        None without annotations, or where no query has relevant keys.
        """
        last = [values for values in self.quality[-1] if values] if self.quality else []
        if not last:
            return None
        precision, recall, f1 = np.mean(last, axis=0)
        return float(precision), float(recall), float(f1)


@dataclass(frozen=True, eq=False)
class PairRecord:
    """The score of a pair: the contributions of all directions and ``remainder`` add up to it.

    Attributes:
        remainder: the part of no displayed word or region: ``<start>``, ``<end>``, a bias.
    """

    name: str
    pair: Pair
    directions: list[DirectionRecord]
    remainder: float
    score: float

    def direction(self, direction: str | None = None) -> DirectionRecord:
        """Return one direction, by default the first (``t2i`` in a method with both).

        Raises `InputError` for a direction that the method does not have.
        """
        sides = {side.direction: side for side in self.directions}
        if direction is not None and direction not in sides:
            raise InputError(
                "this method does not attend in that direction",
                found=f"{direction} of {self.name}",
                expected=f"one of {', '.join(sides)}",
            )
        return self.directions[0] if direction is None else sides[direction]

    def rounded(self) -> dict[str, Any]:
        """Return the record as JSON data, rounded so that contributions still add up."""
        contributions = [_rounded(side.contribution, 6) for side in self.directions]
        score = round(self.score, 6)
        directions = [
            {
                "direction": side.direction,
                "weights": [_rounded(weights, 5) for weights in side.weights],
                "temperature": [_rounded(values, 3) for values in side.temperature],
                "pooling": [_rounded(values, 5) for values in side.pooling],
                "contributions": values,
                "quality": [[q and _rounded(np.array(q), 3) for q in p] for p in side.quality],
            }
            for side, values in zip(self.directions, contributions, strict=True)
        ]
        remainder = round(score - sum(map(sum, contributions)), 6)
        return {
            "name": self.name, "score": score, "remainder": remainder, "directions": directions
        }  # fmt: skip

    def evidence(self) -> np.ndarray:
        """Return the contribution of each word through each region to the score, ``[L, R]``.

        The contribution of a query is distributed over its keys by the attention of the last
        pass. In t2i the sums over regions are the words' contributions; in i2t the sums over words
        are the regions' contributions, less the part of ``<start>`` and ``<end>``. The rest of
        the score belongs to no displayed word and region.
        """
        evidence = np.zeros((len(self.pair.words), self.pair.regions))
        for side in self.directions:
            contribution = side.contribution[:, None if side.direction == "t2i" else ...]
            evidence += side.weights[-1] * contribution
        return evidence


def one_pair(records: Sequence[PairRecord]) -> Pair:
    """Return the pair of the records; raises `InputError` for none, or for different pairs."""
    if not records:
        raise InputError("nothing to draw", expected="at least one record", found="none")
    pair = records[0].pair
    for other in records[1:]:
        first, second = ((p.image, p.words, p.regions) for p in (pair, other.pair))
        if first != second:
            raise InputError(
                "these records are of different pairs",
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
    """Return the explained score of an image and a caption of ``split`` by a run's matcher.

    Args:
        caption: its index among all captions of the split (see `Split.place`), or any sentence,
            without annotations.
        name: displayed name of the method; by default its recipe.
        matcher: the run's matcher, if it is already loaded.

    Raises `InputError` for a method without attention.
    """
    (record,) = records_of(run, split, [(image, caption)], name=name, matcher=matcher)
    if not record.directions:
        raise InputError(
            "this method has no attention",
            found=run.recipe.name,
            expected="a method with attention",
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
    """Return the explained scores of images and captions, computed in one batch.

    Arguments as in `pair_record`, with a pair of image and caption for each record; ``small``
    embeds pictures of a few kB. A method without attention has no directions, and its score is
    all remainder.
    """
    texts = [_text(split, caption) for _, caption in pairs]
    output = read_pairs(run, split, [image for image, _ in pairs], texts, matcher)
    records = []
    for row, ((image, caption), text) in enumerate(zip(pairs, texts, strict=True)):
        words = run.vocabulary.tokens(text)
        relevant = _relevant(split, image, caption, len(words))
        rows = word_rows([text], run.vocabulary) or [[*range(len(words) + 2)]]
        count = split.regions_of(image)
        directions = [
            _direction_record(side, row, rows[0], count, relevant) for side in output.directions
        ]
        score = float(output.score[row])
        records.append(
            PairRecord(
                name=name or run.recipe.name,
                pair=pair(split, image, caption, words, small=small),
                directions=directions,
                remainder=score - sum(float(side.contribution.sum()) for side in directions),
                score=score,
            )
        )
    return records


def _text(split: Split, caption: int | str) -> str:
    return caption if isinstance(caption, str) else split.captions[caption]


def pair(
    split: Split, image: int, caption: int | str, words: list[str], *, small: bool = False
) -> Pair:
    """Return the pair of an image and a caption, with a method's tokens as words."""
    picture, boxes, count = split.picture(image), split.boxes, split.regions_of(image)
    original = None if picture is None else (picture.shape[1], picture.shape[0])
    if split.sizes is not None:
        original = (int(split.sizes[image][0]), int(split.sizes[image][1]))
    uri, size = embedded(picture, small=small) if picture is not None else (None, original)
    if size is None:  # neither picture nor sizes: the extent of the boxes
        reach = np.ones(2) if boxes is None else np.ceil(boxes[image].reshape(-1, 2).max(0))
        size = original = (int(reach[0]), int(reach[1]))
    assert original is not None  # with a picture, with sizes, or set just above
    scale = np.tile(np.array(size) / np.array(original), 2)
    true_boxes = _true_boxes(split, image, caption, len(words))
    return Pair(
        image=split.ids[image],
        caption=_text(split, caption),
        words=words,
        regions=count,
        size=size,
        boxes=None if boxes is None else boxes[image][:count] * scale,
        picture=uri,
        true_boxes=None if true_boxes is None else [box * scale for box in true_boxes],
    )


def _direction_record(
    side: DirectionOutput, row: int, rows: Sequence[int], count: int, relevant: np.ndarray | None
) -> DirectionRecord:
    """Return one direction of the pair in a row of the batch.

    ``rows`` are the words of its tokens, ``count`` the number of its regions, the first ones.
    """
    t2i = side.key_axis == REGIONS
    shown = slice(1, -1) if t2i else slice(count)  # queries without start and end, or padding

    def words(values: torch.Tensor, rule: Rule) -> torch.Tensor:
        return join_pieces(values[None], [rows], rule)[0]

    def shown_queries(values: torch.Tensor, rule: Rule) -> np.ndarray:
        values = values.reshape(-1, 1)
        return (words(values, rule) if t2i else values).numpy()[shown, 0]

    rule: Rule = "mean" if t2i else "sum"
    passes = [words(p.weights[row, :, 0, :count], rule) for p in side.passes]
    queries = side.passes[0].weights.shape[side.query_axis]
    quality = []
    if relevant is not None:
        truth_of = torch.from_numpy(relevant)
        quality = [
            _measured(w[1:-1], truth_of[1:-1]) if t2i else _measured(w.T, truth_of.T)
            for w in passes
        ]
    return DirectionRecord(
        direction="t2i" if t2i else "i2t",
        weights=[weights[1:-1].numpy() for weights in passes],
        temperature=[shown_queries(_temperature(p, row, queries), "mean") for p in side.passes],
        pooling=[shown_queries(weights[row], "sum") for weights in side.pooling],
        contribution=shown_queries(side.contribution[row], "sum"),
        quality=quality,
    )


def _temperature(attended: AttentionPass, row: int, queries: int) -> torch.Tensor:
    value = attended.control.temperature
    return _each_query(value[row] if isinstance(value, torch.Tensor) else value, queries)


def _each_query(value: float | torch.Tensor, queries: int) -> torch.Tensor:
    """Return a temperature, scalar or per query, as ``[Q]``."""
    return torch.as_tensor(value, dtype=torch.float32).flatten().expand(queries)


def _measured(weights: torch.Tensor, relevant: torch.Tensor) -> list[Measures | None]:
    """Return precision, recall and F1 of each query, as in `attention_measures.measure`."""
    threshold = attention_threshold(weights.shape[1])
    return [
        precision_recall_f1(row[None].double(), keys[None], threshold) if keys.any() else None
        for row, keys in zip(weights, relevant, strict=True)
    ]


def _own_caption(split: Split, image: int, caption: int) -> bool:
    """Return whether a caption of the split was written for the image."""
    if not len(split.caption_image):  # pictures without captions, searched by sentences
        return False
    return bool(split.caption_image[caption] == image)


def _relevant(split: Split, image: int, caption: int | str, words: int) -> np.ndarray | None:
    """Return which regions show the object named by each token, ``[L + 2, R]``.

    None without annotations, and for an image that is not the caption's.
    """
    if isinstance(caption, str) or not _own_caption(split, image, caption):
        return None
    annotations = truth(split)
    if annotations is None:
        return None
    relevant = annotations[0][caption]
    return relevant[:, : split.regions_of(image)] if len(relevant) == words + 2 else None


def _true_boxes(
    split: Split, image: int, caption: int | str, words: int
) -> list[np.ndarray] | None:
    """Return the boxes ``[K, 4]`` of the objects named by each token; None as in `_relevant`."""
    if isinstance(caption, str) or not _own_caption(split, image, caption):
        return None
    tokens, objects = split.words(), split.objects()
    if tokens is None or objects is None:
        return None
    boxes = np.array([thing["box"] for thing in objects[image]["objects"]], float).reshape(-1, 4)
    of_words = [boxes[(token or {}).get("objects", [])] for token in tokens[caption]]
    return of_words if len(of_words) == words else None


def _rounded(values: np.ndarray, digits: int) -> Any:
    """Return an array as nested lists of rounded numbers."""
    return np.asarray(values, np.float64).round(digits).tolist()
