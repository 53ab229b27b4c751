"""Captions of a dataset and sentences of Flickr30K Entities: which belong together, word by word.

Entities has its own tokens and corrected spellings, and lists the five sentences of Flickr8k's
photographs in another order.

Page: "What attention metrics can and cannot say".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

import numpy as np
from scipy.optimize import linear_sum_assignment

from itm_book.datasets.entity_files import Sentence
from itm_core.data.vocabulary import tokenise

ALIKE = 0.9  # least similarity of the letters of a caption and its sentence
ALIKE_WORDS = 0.5  # the same for words in the same place, such as grey and gray
QUOTES = {"``": '"', "''": '"'}  # the tokeniser's quotes


def spelling(text: str) -> str:
    """Return the words of a text without case and punctuation, with a blank between them.

    >>> spelling("A man's T-shirt .") == spelling("a man 's t-shirt")
    True
    """
    return " ".join(re.findall(r"\w+", text.lower()))


def paired(
    captions: Sequence[str], sentences: Sequence[Sentence]
) -> list[tuple[int | None, float]]:
    """Return for each caption its sentence, a different one for each, and their similarity.

    Equal texts (see `spelling`) are paired first, those in the same place before others; then the
    rest, so that the sum of the similarities of their letters is largest. None where captions
    outnumber sentences.
    """
    ours = [spelling(caption) for caption in captions]
    theirs = [spelling(" ".join(sentence.words)) for sentence in sentences]
    pairs: list[tuple[int | None, float]] = [(None, 0.0)] * len(ours)
    equal = np.array([[a == b for b in theirs] for a in ours], float)
    same_place = 1e-3 * np.eye(*equal.shape)
    for c, s in zip(*linear_sum_assignment(equal + same_place, maximize=True), strict=True):
        if equal[c, s]:
            pairs[c] = (int(s), 1.0)
    captions_left = [c for c, (s, _) in enumerate(pairs) if s is None]
    sentences_left = sorted(set(range(len(theirs))) - {s for s, _ in pairs if s is not None})
    if captions_left and sentences_left:
        alike = np.array(
            [[_alike(ours[c], theirs[s]) for s in sentences_left] for c in captions_left]
        )
        for c, s in zip(*linear_sum_assignment(alike, maximize=True), strict=True):
            pairs[captions_left[c]] = (sentences_left[s], float(alike[c, s]))
    return pairs


def _alike(text: str, other: str) -> float:
    return SequenceMatcher(None, text, other, autojunk=False).ratio()


def aligned(caption: str, sentence: Sentence) -> list[list[int]]:
    """Return the token positions of each phrase in a caption, the last one that of its last word.

    Both texts are tokenised by our tokeniser and aligned as sequences. Other words in the same
    place count as the same when their letters are alike (grey, gray; highchair, high chair). A
    phrase whose last word has no position has none at all.
    """
    ours = [QUOTES.get(token, token) for token in tokenise(caption)]
    theirs: list[str] = []
    starts = [0]
    for word in sentence.words:
        theirs += [QUOTES.get(token, token) for token in tokenise(word)]
        starts.append(len(theirs))
    places = _places(theirs, ours)
    positions = []
    for phrase in sentence.phrases:
        tokens = [places.get(t, []) for t in range(starts[phrase.first], starts[phrase.last])]
        positions.append(sorted({p for t in tokens for p in t}) if tokens and tokens[-1] else [])
    return positions


def _places(theirs: Sequence[str], ours: Sequence[str]) -> dict[int, list[int]]:
    """Return the positions in ``ours`` of each of their tokens that has some."""
    if theirs == ours:
        return {k: [k] for k in range(len(ours))}
    places: dict[int, list[int]] = {}
    matcher = SequenceMatcher(None, theirs, ours, autojunk=False)
    for change, a, a_end, b, b_end in matcher.get_opcodes():
        similar = change == "replace" and (
            _alike("".join(theirs[a:a_end]), "".join(ours[b:b_end])) >= ALIKE_WORDS
        )
        if change == "equal" or (similar and a_end - a == b_end - b):
            places.update((a + k, [b + k]) for k in range(a_end - a))
        elif similar:
            places.update((k, list(range(b, b_end))) for k in range(a, a_end))
    return places
