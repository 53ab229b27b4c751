"""What a recipe sees of a dataset: features, words, and a matcher of the right size."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, Any

from itm_core.data.dataset import Dataset, Split
from itm_core.data.feature_notes import require_same_features
from itm_core.data.unknown_words import Words, require_known, shares_text, unknown_shares
from itm_core.data.vocabulary import EMPTY_WORDS
from itm_core.data.word_pieces import WordPieces
from itm_core.encoders.positions import POSITION_WIDTH, with_positions
from itm_core.experiments.recipes import Recipe
from itm_core.models import Matcher
from itm_core.training.batches import Pairs

if TYPE_CHECKING:
    from itm_core.experiments.runs import Run

log = logging.getLogger(__name__)


def words_of(data: Dataset, recipe: Recipe) -> Words:
    """Return what turns captions into ids: the dataset's vocabulary, or BERT's own pieces."""
    if recipe.encoder.text_encoder == "bert":
        return WordPieces(str(recipe.encoder.bert or ""))
    return data.vocabulary


def build(recipe: Recipe, config: dict[str, Any], vocabulary: Words | None) -> Matcher:
    """Return a fresh matcher for the data that a run's ``config`` describes.

    Imported weights say how many rows their word embedding has (``embedding_rows``); all others
    need the vocabulary.
    """
    wide = POSITION_WIDTH if recipe.encoder.positions != "none" else 0
    rows = config.get("embedding_rows")
    if rows is None:
        assert vocabulary is not None
        # <mask> is the last row where words are dropped; BERT has its own
        own = isinstance(vocabulary, WordPieces)
        rows = len(vocabulary) + bool(recipe.training.token_dropout and not own)
    return recipe.build(config["feature_width"] + wide, rows, config["region_count"])


def features_of(split: Split, recipe: Recipe) -> Any:
    """Return the split's region features ``[I, R, F]``, with positions where the recipe has them.

    Raises `InputError` for a recipe with positions on a split without boxes.
    """
    return split.regions if recipe.encoder.positions == "none" else with_positions(split)


def run_features(run: Run, split: Split) -> Any:
    """Return a split's features ``[I, R, F]`` for a finished run, as `features_of` does.

    Raises `InputError` for features that the run was not trained on (`require_same_features`).
    """
    require_same_features(run.config, split)
    return features_of(split, run.recipe)


def require_known_words(data: Dataset, recipe: Recipe, *, report: bool = True) -> None:
    """Raise `InputError` when most words of the training or test captions are unknown.

    ``report`` logs the share of each split. See `data.unknown_words`.
    """
    splits = (data.train, data.dev, data.test)
    vocabulary = words_of(data, recipe)
    shares = unknown_shares(vocabulary, splits)
    require_known(vocabulary, splits, shares)
    if report:
        log.info("words unknown to the vocabulary: %s", shares_text(shares))


def encode(split: Split, vocabulary: Words) -> list[list[int]]:
    """Return the token ids of every caption of a split."""
    return [vocabulary.encode(caption) for caption in split.captions]


def vocabulary_hash(vocabulary: Words) -> str:
    """Return what tells vocabularies apart: a SHA-256 of their ids, cut to 16 digits."""
    text = json.dumps(dict(vocabulary.ids), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def training_pairs(data: Dataset, recipe: Recipe, vocabulary: Words) -> Pairs:
    """Return the training split as the trainer takes it."""
    train = data.train
    pieces = vocabulary if isinstance(vocabulary, WordPieces) else None
    return Pairs(
        features_of(train, recipe),
        encode(train, vocabulary),
        train.caption_image,
        stop=[i for word, i in vocabulary.ids.items() if word in EMPTY_WORDS],
        mask=pieces.mask if pieces else len(vocabulary),
        vocabulary=len(vocabulary),
        units=[pieces.units(c) for c in train.captions] if pieces else None,
    )
