"""Write the vocabulary of a dataset's training captions: ``itm data vocab``.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itm_core.data.dataset import SPLITS, VOCABULARY, load_split, vocabulary_file
from itm_core.data.unknown_words import require_known, unknown_shares
from itm_core.data.vocabulary import THRESHOLD, Vocabulary
from itm_core.errors import InputError
from itm_core.settings import at_least


@dataclass(frozen=True)
class WrittenVocabulary:
    """A vocabulary that was written, and the share of unknown words of each split, 0 to 1."""

    file: Path
    vocabulary: Vocabulary
    shares: dict[str, float]

    def lines(self) -> list[str]:
        """Return what to print: one line for the file, one for each split."""
        said = [
            f"{name}: {100 * share:.1f} % of words unknown" for name, share in self.shares.items()
        ]
        return [f"{self.file}: {len(self.vocabulary)} words", *said]


def write_vocabulary(
    folder: Path | str, *, threshold: int = THRESHOLD, replace: bool = False
) -> WrittenVocabulary:
    """Write ``vocab.json`` of the words that the training captions have ``threshold`` times.

    Args:
        folder: a dataset in the SCAN layout.
        threshold: occurrences that a word needs, 1 or more.
        replace: write it although the dataset has a vocabulary.

    Raises `InputError` for a dataset that is broken or has a vocabulary, and for a vocabulary that
    would leave most words unknown. Nothing is written then.
    """
    at_least("--threshold", threshold, 1)
    folder = Path(folder)
    there = vocabulary_file(folder)
    if there is not None and not replace:
        raise InputError(
            "the dataset has a vocabulary",
            file=there,
            remedy="--replace writes another one; runs keep the vocabulary they were trained with",
        )
    splits = [load_split(folder, name) for name in SPLITS]
    vocabulary = Vocabulary.from_captions(splits[0].captions, threshold)
    shares = unknown_shares(vocabulary, splits, full=True)
    require_known(vocabulary, splits, shares)
    vocabulary.save(folder / VOCABULARY)
    return WrittenVocabulary(folder / VOCABULARY, vocabulary, shares)
