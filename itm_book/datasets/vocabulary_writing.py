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
    """A written vocabulary, and the fraction of unknown words of each split."""

    file: Path
    vocabulary: Vocabulary
    shares: dict[str, float]

    def lines(self) -> list[str]:
        """Return one line of text for the file, and one for each split."""
        splits = [
            f"{name}: {100 * share:.1f} % of words unknown" for name, share in self.shares.items()
        ]
        return [f"{self.file}: {len(self.vocabulary)} words", *splits]


def write_vocabulary(
    folder: Path | str, *, threshold: int = THRESHOLD, replace: bool = False
) -> WrittenVocabulary:
    """Write ``vocab.json`` of the words that occur ``threshold`` times in training captions.

    Args:
        folder: a dataset in the SCAN layout.
        threshold: minimum occurrences of a word, 1 or more.
        replace: overwrite an existing vocabulary.

    Raises `InputError`, and writes nothing, for an invalid dataset, an existing vocabulary, and a
    vocabulary that lacks most words.
    """
    at_least("--threshold", threshold, 1)
    folder = Path(folder)
    existing = vocabulary_file(folder)
    if existing is not None and not replace:
        raise InputError(
            "the dataset has a vocabulary",
            file=existing,
            remedy="--replace writes a new one; runs keep the vocabulary they were trained with",
        )
    splits = [load_split(folder, name) for name in SPLITS]
    vocabulary = Vocabulary.from_captions(splits[0].captions, threshold)
    shares = unknown_shares(vocabulary, splits, full=True)
    require_known(vocabulary, splits, shares)
    vocabulary.save(folder / VOCABULARY)
    return WrittenVocabulary(folder / VOCABULARY, vocabulary, shares)
