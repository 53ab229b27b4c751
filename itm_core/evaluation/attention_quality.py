"""Attention quality: precision, recall and F1 against boxes, and measures without a threshold.

The three measures are named in *More Than Just Attention* (WACV 2023), of which only the abstract
was available: this is an interpretation. A query attends to the keys with at least the mean
weight; these should be the relevant ones. Thresholds and averaging are parameters; the formulas
are in `attention_measures`.

* Words as queries (t2i): the words that name an object; relevant are the regions whose IoU with a
  box of that object is at least one half.
* Regions as queries (i2t): the regions that show a named object; relevant are the words that name
  it. ``<start>`` and ``<end>`` are keys, as in the hosts, and never relevant.

Page: "What attention metrics can and cannot say"; the chapter on the
constraints, "Attention quality"; "Every method".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.data.annotations import annotation_state
from itm_core.data.dataset import Split
from itm_core.encoders.fragments import Fragments
from itm_core.evaluation.attention_measures import Quality, measure
from itm_core.evaluation.joined_words import join_pieces
from itm_core.evaluation.scoring import encode_regions, evaluating, pad
from itm_core.models import AttentionPass, Matcher
from itm_core.models.pairing import REGIONS, Matched

IOU = 0.5
CAPTIONS_AT_ONCE = 256


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of every box with every other, ``[R, K]``."""
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    far = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.clip(far - corner, 0, None).prod(-1)
    area = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (boxes, others)]
    return common / np.maximum(area[0][:, None] + area[1][None] - common, 1e-12)


@dataclass(frozen=True, eq=False)
class Annotation:
    """What the tokens of a split's captions name, and how far the regions overlap it.

    Lists have one entry for every caption; the first and last rows are ``<start>`` and ``<end>``.

    Attributes:
        overlap: ``[L + 2, R]`` the largest IoU of a region with a box of what a token names.
        naming: ``[L + 2]`` bool, whether the token names anything.
        types: ``[L + 2, T]`` bool, the types of a token's phrase (people, animals, ...).
        type_names: of the T types, sorted; none where the annotation has no types.
    """

    overlap: list[np.ndarray]
    naming: list[np.ndarray]
    types: list[np.ndarray]
    type_names: tuple[str, ...]


def annotation(split: Split) -> Annotation | None:
    """Return the annotation of a split; None where it has none.

    A region shows what a token names as well as the best of the boxes fits it. Raises
    `InputError` as `annotations.read_annotations` does.
    """
    return None if split.words() is None else _matched(split, annotation_state(split))


@lru_cache(maxsize=1)  # pages draw many pairs of one split
def _matched(split: Split, _: object) -> Annotation | None:
    """Return the annotation of a split, whose files have a certain state."""
    words, objects, region_boxes = split.words(), split.objects(), split.boxes
    if words is None or objects is None or region_boxes is None:
        return None
    overlaps = []  # of each image [R, objects]
    for boxes, image in zip(region_boxes, objects, strict=True):
        others = np.array([thing["box"] for thing in image["objects"]], np.float64).reshape(-1, 4)
        overlaps.append(iou(boxes.astype(np.float64), others))
    names = sorted({k for caption in words for word in caption for k in _types(word)})
    column = {name: k for k, name in enumerate(names)}
    annotated = Annotation([], [], [], tuple(names))
    for caption, image in zip(words, split.caption_image, strict=True):
        overlap = np.zeros((len(caption) + 2, region_boxes.shape[1]))
        types = np.zeros((len(caption) + 2, len(names)), bool)
        for row, word in enumerate(caption, 1):
            named = (word or {}).get("objects") or []
            if named:
                overlap[row] = overlaps[image][:, named].max(1)
                types[row, [column[name] for name in _types(word)]] = True
        annotated.overlap.append(overlap)
        annotated.types.append(types)
        naming = [bool((word or {}).get("objects")) for word in caption]
        annotated.naming.append(np.array([False, *naming, False]))
    return annotated


def _types(word: dict[str, Any] | None) -> list[str]:
    return (word or {}).get("kinds") or []


def truth(split: Split, threshold: float = IOU) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Return two arrays for every caption: which regions show what a token names, ``[L + 2, R]``.

    The second, ``[L + 2]``, is whether the token names anything. Both are bool; the first and last
    rows are ``<start>`` and ``<end>``. None where the split has no such annotation.
    """
    annotated = annotation(split)
    if annotated is None:
        return None
    pairs = zip(annotated.overlap, annotated.naming, strict=True)
    return [(o >= threshold) & n[:, None] for o, n in pairs], annotated.naming


@dataclass(frozen=True, eq=False)
class AnnotatedPass:
    """The attention of a matcher in one direction on some captions, each with its own image.

    Attributes:
        start: the first of the captions in the split.
        attention: of these pairs, with weights ``[c, L, 1, R]``.
        relevant, naming: ``[c, L, R]`` and ``[c, L]``, see `truth`.
        word_rows: the word of each token where words come in pieces, see `joined_words`.
    """

    start: int
    attention: AttentionPass
    relevant: Tensor
    naming: Tensor
    word_rows: Sequence[Sequence[int]] | None = None

    @property
    def direction(self) -> str:
        """``t2i`` where words are the queries, ``i2t`` where regions are."""
        return "t2i" if self.attention.key_axis == REGIONS else "i2t"

    @cached_property
    def weights(self) -> Tensor:
        """``[c, L, R]`` attention of the words, of joined pieces where they come in such."""
        weights = self.attention.weights[:, :, 0].float().cpu()
        if self.word_rows is None:
            return weights
        return join_pieces(weights, self.word_rows, "mean" if self.direction == "t2i" else "sum")

    def _word_counts(self) -> Tensor:
        """Return the number of words of each caption ``[c]``, start and end included."""
        if self.word_rows is None:
            return self.attention.pairing.words.lens
        return torch.tensor([rows[-1] + 1 for rows in self.word_rows])

    def queries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights ``[M, N]``, relevance and number of keys of the queries.

        Queries are the words that name an object, or all regions: `measure` drops those without
        a relevant key.
        """
        weights = self.weights
        relevant = self.relevant[:, : weights.shape[1], : weights.shape[2]]
        pairs, _ = self.query_places()
        if self.direction == "t2i":
            naming = self.naming[:, : weights.shape[1]]
            return weights[naming], relevant[naming], self._regions.lens[pairs]
        real = self._regions.mask.cpu()
        return weights.mT[real], relevant.mT[real], self._word_counts()[pairs]

    def query_places(self) -> tuple[Tensor, Tensor]:
        """Return the caption ``[M]`` of each of `queries`, from `start` on, and its place in it."""
        t2i = self.direction == "t2i"
        queries = self.naming[:, : self.weights.shape[1]] if t2i else self._regions.mask.cpu()
        caption, place = queries.nonzero(as_tuple=True)
        return caption, place

    @property
    def _regions(self) -> Fragments:
        """The regions of the image of each caption."""
        return self.attention.pairing.regions


@torch.no_grad()
def annotated_passes(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    features: Any = None,
    *,
    threshold: float = IOU,
    word_rows: Sequence[Sequence[int]] | None = None,
) -> Iterator[AnnotatedPass]:
    """Yield the attention of each direction on `CAPTIONS_AT_ONCE` captions after the other.

    Arguments as for `attention_quality`. There are none for a split without annotated words.
    """
    annotated = truth(split, threshold)
    if annotated is None:
        return
    for rows, pairing in matched_pairs(matcher, split, tokens, features):
        relevant, naming = (pad(part[rows], bool)[0] for part in annotated)
        for attention in matcher.attend(pairing):
            yield AnnotatedPass(
                rows.start, attention, relevant, naming, word_rows and word_rows[rows]
            )


def matched_pairs(
    matcher: Matcher, split: Split, tokens: Sequence[Sequence[int]], features: Any = None
) -> Iterator[tuple[slice, Matched]]:
    """Yield `CAPTIONS_AT_ONCE` captions after the other, encoded, each with its own image.

    The matcher is in evaluation mode meanwhile. Arguments as for `attention_quality`.
    """
    features = split.features if features is None else features
    device = next(matcher.parameters()).device
    with evaluating(matcher):
        for start in range(0, len(tokens), CAPTIONS_AT_ONCE):
            rows = slice(start, start + CAPTIONS_AT_ONCE)
            images, place = np.unique(split.caption_image[rows], return_inverse=True)
            ids, lens = pad(tokens[rows])
            regions = encode_regions(matcher, features[images])
            words = matcher.words(ids.to(device), lens)
            yield rows, Matched(regions.take(torch.from_numpy(place)), words)


def attention_quality(
    matcher: Matcher,
    split: Split,
    tokens: Sequence[Sequence[int]],
    features: Any = None,
    *,
    threshold: float = IOU,
    word_rows: Sequence[Sequence[int]] | None = None,
    multiple: float = 1.0,
    fixed: float | None = None,
    averaging: str = "queries",
) -> dict[str, Quality]:
    """Return the attention quality of every caption of a split with its own image, by direction.

    ``t2i`` and ``i2t``, those in which the matcher attends; none for a split without annotated
    words. ``tokens`` are the token ids of the captions; ``features`` replace ``split.features``
    where a recipe adds positions; ``threshold`` is that of the IoU; ``word_rows`` tell the word of
    each token where words come in pieces; the rest as in `measure`.
    """
    queries: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for attention in annotated_passes(
        matcher, split, tokens, features, threshold=threshold, word_rows=word_rows
    ):
        queries.setdefault(attention.direction, []).append(attention.queries())
    return {
        name: measure(*_concatenated(parts), multiple=multiple, fixed=fixed, averaging=averaging)
        for name, parts in queries.items()
    }


def _concatenated(parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the queries of all batches, padded to as many keys as the widest has."""
    widest = max(w.shape[1] for w, _, _ in parts)
    weights = [torch.nn.functional.pad(w, (0, widest - w.shape[1])) for w, _, _ in parts]
    relevant = [torch.nn.functional.pad(r, (0, widest - r.shape[1])) for _, r, _ in parts]
    return torch.cat(weights), torch.cat(relevant), torch.cat([n for _, _, n in parts])
