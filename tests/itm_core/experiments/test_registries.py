"""A misspelt name runs nothing: every registry refuses it, with the value and the known names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from itm_book.reference import bfan_scores, chan_scores, scan_scores
from itm_book.reference.bfan import focal
from itm_book.reference.chan import CODINGS
from itm_book.reference.scan import KINDS, pooling
from itm_core.constraints import (
    CCR,
    CCS,
    NEGATIVES,
    RELEVANCES,
    SWAPS,
    Constraint,
    ConstraintSettings,
    QueryKeyBatch,
)
from itm_core.encoders.encoder import WORD_ENCODERS, WORD_INITS, EncoderSettings, make_word_encoder
from itm_core.encoders.pooling import POOLINGS, make_pooling
from itm_core.encoders.region_blocks import REGION_BLOCKS, make_block
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.attention_measures import AVERAGINGS, measure, precision_recall_f1
from itm_core.experiments import recipes
from itm_core.models import AttendingSettings
from itm_core.models.aggregation import AGGREGATIONS, aggregate, contributions
from itm_core.models.attention import GATES, NORMALISATIONS, focused, normalise
from itm_core.models.pairing import REGIONS
from itm_core.settings import one_of, registered
from itm_core.training.feature_cache import FEATURE_CACHES, cache_features
from itm_core.training.losses import LOSSES, LossSettings, ranking_loss
from itm_core.training.optimisation import make_optimiser
from itm_core.training.settings import OPTIMISERS, TrainingSettings

S = torch.rand(2, 3, 4, 5)
COUNTS = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)
ONE = torch.rand(2, 3, 4), torch.rand(1, 2, 4), [2]  # regions, words, their number
SCORES = np.eye(2).repeat(5, axis=1)


def setting(settings: object, name: str, value: str) -> None:
    """Put a name into settings behind the back of their own check."""
    object.__setattr__(settings, name, value)


def with_encoder(name: str) -> Callable[[str], object]:
    def call(wrong: str) -> object:
        settings = EncoderSettings(embedding=4, word_width=3)
        setting(settings, name, wrong)
        return make_word_encoder(5, settings)

    return call


def with_loss(wrong: str) -> object:
    settings = LossSettings()
    setting(settings, "kind", wrong)
    return ranking_loss(torch.eye(3), settings, hardest=True)


def with_optimiser(wrong: str) -> object:
    settings = TrainingSettings()
    setting(settings, "optimiser", wrong)
    return make_optimiser(recipes.get("scan-t2i-mean-smoke").build(5, 6, 4), settings)


def query_key_batch() -> QueryKeyBatch:
    """One direction of three pairs with two queries and four keys."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 2, 4, generator=draw)
    query, keys = torch.rand(3, 2, 5, generator=draw), torch.rand(3, 4, 5, generator=draw)
    every, real = torch.ones(3, 2, dtype=torch.bool), torch.ones(3, 4, dtype=torch.bool)
    return QueryKeyBatch(
        weights, query @ keys.mT, query, keys, keys @ keys.mT, every, real, IMAGE, IMAGE, None
    )


def constrained(name: str, constraint: type[Constraint]) -> Callable:
    def call(wrong: str) -> object:
        settings = ConstraintSettings(ccr=1.0)
        setting(settings, name, wrong)
        return constraint(settings).negative(query_key_batch())

    return call


IMAGE = torch.arange(3)
CALLS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "normalisation": (lambda w: normalise(S, w, REGIONS), tuple(NORMALISATIONS)),
    "gate": (lambda w: focused(S, REGIONS, w), tuple(GATES)),
    "aggregation": (lambda w: aggregate(S[..., :1], 1, kind=w), tuple(AGGREGATIONS)),
    "shares": (lambda w: contributions(S[..., :1], 1, kind=w), tuple(AGGREGATIONS)),
    "pooling": (lambda w: make_pooling(w, 4, 5), tuple(POOLINGS)),
    "block": (lambda w: make_block(w, 6, 8), tuple(REGION_BLOCKS)),
    "words": (
        with_encoder("text_encoder"),
        tuple(name for name in WORD_ENCODERS if name != "bert"),
    ),
    "word start": (with_encoder("word_init"), tuple(WORD_INITS)),
    "loss": (with_loss, tuple(LOSSES)),
    "optimiser": (with_optimiser, tuple(OPTIMISERS)),
    "negative": (constrained("negative", CCR), tuple(NEGATIVES)),
    "swap": (constrained("swap", CCS), tuple(SWAPS)),
    "relevance": (
        lambda w: query_key_batch().relevance(query_key_batch().weights, kind=w),
        RELEVANCES,
    ),
    "feature_cache": (
        lambda w: cache_features(np.ones((1, 2, 3)), torch.device("cpu"), w, free=9999),
        FEATURE_CACHES,
    ),
    "ties": (lambda w: retrieval.ranks(SCORES, ties=w), retrieval.TIES),
    "ties of metrics": (lambda w: retrieval.metrics(SCORES, ties=w), retrieval.TIES),
    "nan": (lambda w: retrieval.ranks(SCORES, nan=w), retrieval.NANS),
    "averaging": (lambda w: precision_recall_f1(*COUNTS, 0.5, w), tuple(AVERAGINGS)),
    "averaging of nothing": (
        lambda w: measure(COUNTS[0], ~COUNTS[1], torch.tensor([3, 3]), averaging=w),
        tuple(AVERAGINGS),
    ),
    "reference's direction": (lambda w: scan_scores(*ONE, direction=w), ("t2i", "i2t")),
    "reference's normalisation": (
        lambda w: scan_scores(*ONE, direction="t2i", normalisation=w),
        KINDS,
    ),
    "reference's aggregation": (
        lambda w: pooling(w, 1.0)(S),
        ("mean", "LSE", "max", "sum"),
    ),
    "reference's gate": (lambda w: focal(S, w), ("equal", "prob")),
    "reference's gate in its scores": (lambda w: bfan_scores(*ONE, gate=w), ("equal", "prob")),
    "reference's pooling": (
        lambda w: chan_scores(ONE[0], [3, 3], *ONE[1:], coding="hard_word", pooling=w),
        tuple(AGGREGATIONS),
    ),
    "reference's coding": (
        lambda w: chan_scores(ONE[0], [3, 3], *ONE[1:], coding=w, pooling="mean"),
        CODINGS,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_name_runs_nothing(name: str) -> None:
    """Not the last branch, nor a name that only begins or ends like a known one."""
    call, known = CALLS[name]
    for right in known:
        call(right)
    for wrong in ("misspelt", "", known[0].upper() + "_", known[-1] + "l2norm"):
        with pytest.raises(InputError) as error:
            call(wrong)
        message = str(error.value)
        assert repr(wrong) in message or wrong in message
        assert all(right in message for right in known)


def test_settings_refuse_what_has_no_hash() -> None:
    """A list out of a YAML file is a wrong value too, not a TypeError."""
    with pytest.raises(InputError, match="normalisation"):
        AttendingSettings(normalisation=["l2norm"])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of a, b"):
        one_of("x", [], {"a": 1, "b": 2})


def test_a_registry_gives_the_entry() -> None:
    assert registered("x", "b", {"a": 1, "b": 2}) == 2
