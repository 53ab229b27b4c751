"""What a recipe makes of a dataset: vocabulary, token ids, features, a matcher of its size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itm_core.data.dataset import Dataset, Split
from itm_core.data.informative import poverty, require_informative
from itm_core.data.ragged import RaggedRegions
from itm_core.data.unknown_words import Words, require_known, shares_text, unknown_shares
from itm_core.data.vocabulary import EMPTY_WORDS, SPECIAL, is_word
from itm_core.data.word_pieces import WordPieces
from itm_core.data.word_vectors import read_vectors, vectors_file
from itm_core.encoders.positions import POSITION_WIDTH, with_positions
from itm_core.errors import InputError
from itm_core.experiments.recipes import Recipe
from itm_core.files import sha256
from itm_core.models import Matcher
from itm_core.training.batches import Pairs, require_batch

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PreparedSplit:
    """A split as a matcher takes it.

    Attributes:
        features: ``[I, R, F]``, with positions where the recipe has them.
        vocabulary: what turns captions into token ids.
    """

    split: Split
    features: Any
    vocabulary: Words

    @cached_property
    def tokens(self) -> list[list[int]]:
        """The token ids of every caption."""
        return encode(self.split, self.vocabulary)

    @cached_property
    def word_rows(self) -> list[list[int]] | None:
        """The word of each token id, where words come in pieces; see `word_rows`."""
        return word_rows(self.split.captions, self.vocabulary)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The splits of a dataset for one recipe; see `prepare`."""

    data: Dataset
    recipe: Recipe
    train: PreparedSplit
    dev: PreparedSplit
    test: PreparedSplit
    vocabulary: Words

    def require_trainable(self, *, report: bool = True) -> None:
        """Raise `InputError` for data that a training or its evaluation would refuse later.

        Nothing can be learned from it (`data.informative`), a batch would have a single pair,
        most words are unknown (`data.unknown_words`), the word vectors have none of them, pictures
        or annotations cannot be read, a caption has more pieces than its BERT reads, or images of
        a later split have more regions than a pooling over their number learns. ``report`` logs
        the share of unknown words in each split, and what is suspicious in it.
        """
        require_informative(self.data)
        require_batch(self.data.train.caption_total(self.recipe.training.train_images))
        self._require_sizes()
        for prepared in (self.train, self.dev, self.test):
            # a run's numbers need the annotations of its test split alone
            prepared.split.require_readable(annotations=prepared is self.test)
        if self.recipe.encoder.word_vectors:
            _word_vectors(self.recipe, self.vocabulary)
        splits = [prepared.split for prepared in (self.train, self.dev, self.test)]
        shares = unknown_shares(self.vocabulary, splits)
        require_known(self.vocabulary, splits, shares)
        if report:
            for line in poverty(self.data):
                log.warning("%s", line)
            log.info("words unknown to the vocabulary: %s", shares_text(shares))

    def _require_sizes(self) -> None:
        """Raise `InputError` where captions or images are larger than the matcher can take."""
        most = self.data.region_count
        pooled = self.recipe.encoder.image_pooling == "self_attention"
        longest = self.vocabulary.longest if isinstance(self.vocabulary, WordPieces) else None
        for prepared in (self.train, self.dev, self.test):
            split = prepared.split
            if pooled and split.regions.shape[1] > most:
                raise InputError(
                    "this image pooling takes no more regions than it was trained with",
                    file=split.folder / f"{split.name}_ims.npy",
                    expected=f"{most} at most, as in the training split",
                    found=split.regions.shape[1],
                )
            if longest is None:
                continue
            row = max(range(len(prepared.tokens)), key=lambda k: len(prepared.tokens[k]))
            if len(prepared.tokens[row]) > longest:
                raise InputError(
                    "a caption is too long for this BERT",
                    file=split.folder / f"{split.name}_caps.txt",
                    row=row + 1,
                    expected=f"{longest} pieces at most",
                    found=len(prepared.tokens[row]),
                )

    def training_pairs(self, limit: int | None) -> Pairs:
        """Return the training split as the trainer takes it.

        ``limit`` is the largest number of training images used, the first ones with their
        captions; ``None`` takes all.
        """
        split = self.train.split
        captions = split.captions[: split.caption_total(limit)]
        pieces = self.vocabulary if isinstance(self.vocabulary, WordPieces) else None
        # of pieces all are known, their lengths were checked; of words only what is trained on
        whole = pieces is not None or len(captions) == len(split.captions)
        tokens = self.train.tokens if whole else [self.vocabulary.encode(c) for c in captions]
        return Pairs(
            self.train.features,  # all of them, memory-mapped: no caption asks for the others
            tokens[: len(captions)],
            split.caption_image[: len(captions)],
            stop=[i for word, i in self.vocabulary.ids.items() if word in EMPTY_WORDS],
            mask=pieces.mask if pieces else len(self.vocabulary),
            vocabulary=len(self.vocabulary),
            units=[pieces.units(caption) for caption in captions] if pieces else None,
        )


def prepare(data: Dataset, recipe: Recipe) -> Prepared:
    """Return a dataset's vocabulary, token ids and features for a recipe.

    The vocabulary is the dataset's, or BERT's own word pieces. Captions are encoded on first use.

    Raises `InputError` for a recipe with positions on a split without boxes.
    """
    vocabulary: Words = data.vocabulary
    if recipe.encoder.text_encoder == "bert":
        vocabulary = WordPieces(recipe.encoder.bert)
    train, dev, test = (
        PreparedSplit(split, features_of(split, recipe), vocabulary)
        for split in (data.train, data.dev, data.test)
    )
    return Prepared(data, recipe, train, dev, test, vocabulary)


def build(recipe: Recipe, config: dict[str, Any], vocabulary: Words | None) -> Matcher:
    """Return a fresh matcher for the data that a run's ``config`` describes.

    Imported weights say how many rows their word embedding has (``embedding_rows``); all others
    need the vocabulary. Where images have different numbers of regions, what fills them up is
    masked also where the recipe's ``mask_regions``, which is about dropped regions, is false.
    """
    if config.get("ragged_regions"):
        recipe = recipe.changed({"encoder": {"mask_regions": True}})
    position_width = POSITION_WIDTH if recipe.encoder.positions != "none" else 0
    rows = config.get("embedding_rows")
    if rows is None:
        assert vocabulary is not None
        rows = embedding_rows(recipe, vocabulary)
    return recipe.build(config["feature_width"] + position_width, rows, config["region_count"])


def load_word_vectors(
    matcher: Matcher, recipe: Recipe, vocabulary: Words
) -> dict[str, str | int] | None:
    """Put the recipe's word vectors into a fresh matcher, and return what was found.

    ``file``, ``words`` of the vocabulary and ``found`` among them, without punctuation and special
    words; None for a recipe without word vectors. Raises `InputError` as `read_vectors` does.
    """
    if recipe.encoder.word_vectors is None:
        return None
    path, vectors = _word_vectors(recipe, vocabulary)
    embedding = matcher.words.get_submodule("embed").get_parameter("weight")
    with torch.no_grad():
        for word, vector in vectors.items():
            embedding[vocabulary.ids[word]] = torch.from_numpy(vector).to(embedding)
    words = [word for word in vocabulary.ids if is_word(word) and word not in SPECIAL]
    found = sum(word in vectors for word in words)
    log.info("word vectors of %s: %d of %d words", path, found, len(words))
    return {"file": str(path), "words": len(words), "found": found}


def _word_vectors(recipe: Recipe, vocabulary: Words) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the file of a recipe's word vectors, and those of the vocabulary's words."""
    path = vectors_file(recipe.encoder.word_vectors or "")
    return path, _vectors_of(path, sha256(path), vocabulary, recipe.encoder.word_width)


@lru_cache(maxsize=1)
def _vectors_of(path: Path, _: str, vocabulary: Words, width: int) -> dict[str, np.ndarray]:
    """Return the vectors in a file of this hash, which is large and read twice by a training."""
    return read_vectors(path, vocabulary.ids, width)


def embedding_rows(recipe: Recipe, vocabulary: Words) -> int:
    """Return the number of rows of the word embedding that a recipe trains for a vocabulary."""
    # <mask> is the last row where words are dropped; BERT has its own
    has_mask = isinstance(vocabulary, WordPieces)
    return len(vocabulary) + bool(recipe.training.token_dropout and not has_mask)


def features_of(split: Split, recipe: Recipe) -> Any:
    """Return the split's region features ``[I, R, F]``, with positions where the recipe has them.

    They are `RaggedRegions` where images have different numbers of regions. Raises `InputError`
    for a recipe with positions on a split without boxes.
    """
    if recipe.encoder.positions == "none":
        return split.features
    features = with_positions(split)
    lens = split.region_lens
    return features if lens is None else RaggedRegions(features, lens)


def encode(split: Split, vocabulary: Words) -> list[list[int]]:
    """Return the token ids of every caption of a split."""
    return [vocabulary.encode(caption) for caption in split.captions]


def word_rows(captions: Sequence[str], vocabulary: Words) -> list[list[int]] | None:
    """Return the word of each token id of every caption; None where each is a word of its own."""
    if not isinstance(vocabulary, WordPieces):
        return None
    return [vocabulary.word_rows(caption) for caption in captions]
