"""The share of words that are not in a vocabulary, and the limit above which data is refused.

All unknown words are one token, ``<unk>``. A dataset whose captions are mostly that token trains
without an error and learns next to nothing, so it is refused here.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from itm_core.data.dataset import Split
from itm_core.data.vocabulary import Vocabulary, is_word
from itm_core.data.word_pieces import WordPieces
from itm_core.errors import InputError

Words = Vocabulary | WordPieces
MAX_UNKNOWN = 0.5  # share of the words of a split; punctuation does not count
CHECKED = ("train", "test")  # splits that are refused; others are only logged
SAMPLED = 10_000  # captions of a split that are counted without ``full``


def unknown_share(words: Words, captions: Sequence[str], *, full: bool = False) -> float:
    """Return the share of unknown words in captions, 0 to 1; 0 without any word.

    Of more than `SAMPLED` captions that many, evenly spaced, are counted, or all with ``full``.
    """
    chosen = range(len(captions))
    if not full and len(captions) > SAMPLED:
        chosen = np.linspace(0, len(captions) - 1, SAMPLED).astype(int).tolist()
    unknown = total = 0
    for i in chosen:
        tokens = zip(words.tokens(captions[i]), words.unknown(captions[i]), strict=True)
        flags = [is_unknown for token, is_unknown in tokens if is_word(token)]
        unknown, total = unknown + sum(flags), total + len(flags)
    return unknown / total if total else 0.0


def unknown_shares(
    words: Words, splits: Sequence[Split], *, full: bool = False
) -> dict[str, float]:
    """Return the `unknown_share` of each split by its name."""
    return {split.name: unknown_share(words, split.captions, full=full) for split in splits}


def shares_text(shares: Mapping[str, float]) -> str:
    """Return shares as text.

    >>> shares_text({"train": 0.0, "test": 0.0123})
    'train 0.0 %, test 1.2 %'
    """
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())


def require_known(words: Words, splits: Sequence[Split], shares: Mapping[str, float]) -> None:
    """Raise `InputError` when most words of the train or the test split are unknown.

    ``shares`` are the `unknown_shares` of the splits of one dataset under the vocabulary ``words``.
    """
    for split in splits:
        if split.name in CHECKED and shares[split.name] > MAX_UNKNOWN:
            raise InputError(
                f"most words of the {split.name} split are unknown to the vocabulary, "
                "and a matcher cannot distinguish unknown words",
                file=split.folder / f"{split.name}_caps.txt",
                expected=f"at most {100 * MAX_UNKNOWN:.0f} % unknown words",
                found=shares_text(shares),
                remedy=_remedy(words, split),
            )


def _remedy(words: Words, split: Split) -> str:
    if isinstance(words, WordPieces):
        return f"use a BERT model of the captions' language; this one is {words.folder}"
    return (
        f"itm data vocab {shlex.quote(str(split.folder))} --threshold 1 writes a vocabulary of all "
        "training words (--replace when there is one already); in a language that is written "
        "without spaces, first put spaces between the words, or train a recipe with a BERT of that "
        "language, which has a vocabulary of its own"
    )
