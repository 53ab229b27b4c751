"""Ties between attention weights: expected values, whatever order the keys come in."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from itm_core.errors import InputError
from itm_core.evaluation.attention_measures import (
    Quality,
    attention_threshold,
    average_precision,
    measure,
    pointing,
    precision_recall_f1,
)

NUMBERS = [f.name for f in fields(Quality)]


def shuffled(weights: list[int], relevant: list[bool]) -> tuple[float, float]:
    """Average precision and pointing over every order of the keys that sorts the weights."""
    precisions, first = [], []
    for order in permutations(range(len(weights))):
        if any(weights[a] < weights[b] for a, b in pairwise(order)):
            continue
        hits = np.array([relevant[k] for k in order])
        at = hits.cumsum() / np.arange(1, len(hits) + 1)
        precisions.append(at[hits].mean())
        first.append(hits[0])
    return float(np.mean(precisions)), float(np.mean(first))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6))
def test_ties_are_the_mean_over_all_orders(keys: list[tuple[int, bool]]) -> None:
    weights, relevant = [w for w, _ in keys], [r for _, r in keys]
    W, G = torch.tensor([weights], dtype=torch.float64), torch.tensor([relevant])
    if not any(relevant):
        assert average_precision(W, G).item() == pointing(W, G).item() == 0
        return
    precision, first = shuffled(weights, relevant)
    assert average_precision(W, G).item() == pytest.approx(precision, abs=1e-12)
    assert pointing(W, G).item() == pytest.approx(first, abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_one_relevant_key_among_equals_by_hand(count: int) -> None:
    """It stands at each of the places with the same probability: the mean of 1 / place."""
    even = torch.full((1, count), 1 / count)
    one = torch.arange(count)[None] == count - 1
    harmonic = sum(1 / place for place in range(1, count + 1))
    assert average_precision(even, one).item() == pytest.approx(harmonic / count)
    assert pointing(even, one).item() == pytest.approx(1 / count)


def test_many_keys_are_the_mean_over_drawn_orders() -> None:
    draw = np.random.default_rng(0)
    weights = draw.integers(0, 4, 40).astype(float)
    relevant = draw.random(40) < 0.3
    jittered = weights + 0.5 * draw.random((20000, 40))  # an order among equals, never between
    G = torch.from_numpy(relevant)
    drawn = average_precision(torch.from_numpy(jittered), G.expand(20000, -1))
    found = average_precision(torch.from_numpy(weights)[None], G[None]).item()
    assert found == pytest.approx(drawn.mean().item(), abs=5 * drawn.std().item() / 20000**0.5)


def queries(seed: int, count: int, wide: int, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of few values, relevance and numbers of keys; zero and False beyond these."""
    draw = np.random.default_rng(seed)
    keys = torch.from_numpy(draw.integers(1, wide + 1, count))
    real = torch.arange(wide) < keys[:, None]
    weights = torch.from_numpy(draw.integers(0, levels, (count, wide))).float() * real
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
    return weights, torch.from_numpy(draw.random((count, wide)) < 0.4) & real, keys


def equal(a: Quality, b: Quality) -> None:
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12, err_msg=name)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 9999),
    levels=st.integers(1, 5),
    averaging=st.sampled_from(["queries", "pairs"]),
    fixed=st.sampled_from([None, 0.0, 0.2]),
)
def test_no_order_of_the_keys_changes_a_number(
    seed: int, levels: int, averaging: str, fixed: float | None
) -> None:
    weights, relevant, keys = queries(seed, 7, 9, levels)
    draw = np.random.default_rng(seed)
    order = torch.stack(
        [torch.tensor([*draw.permutation(int(n)), *range(int(n), 9)]) for n in keys]
    )
    first = measure(weights, relevant, keys, averaging=averaging, fixed=fixed)
    second = measure(
        weights.gather(1, order), relevant.gather(1, order), keys, averaging=averaging, fixed=fixed
    )
    equal(first, second)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 9999), extra=st.integers(1, 40), fixed=st.sampled_from([None, 0.0, 0.2]))
def test_padding_takes_no_part(seed: int, extra: int, fixed: float | None) -> None:
    """Neither by a tie with a real key of weight zero, nor at a threshold of zero."""
    weights, relevant, keys = queries(seed, 6, 7, 3)
    wider = [torch.nn.functional.pad(x, (0, extra)) for x in (weights, relevant)]
    equal(measure(weights, relevant, keys, fixed=fixed), measure(*wider, keys, fixed=fixed))


def test_a_zero_weight_does_not_tie_with_padding() -> None:
    """The second of two real keys is right and has weight zero; three padded ones follow."""
    weights = torch.tensor([[1.0, 0, 0, 0, 0]])
    relevant = torch.tensor([[False, True, False, False, False]])
    assert measure(weights, relevant, torch.tensor([2])).average_precision == 0.5


def test_equal_weights_all_reach_the_threshold() -> None:
    """In float32 too, where the sum of n times 1 / n is not one."""
    for keys in range(1, 200):
        weights = torch.ones(1, keys).softmax(1)
        found = precision_recall_f1(
            weights.double(), torch.ones(1, keys, dtype=torch.bool), attention_threshold(keys)
        )
        assert found == (1, 1, 1)
    assert attention_threshold(torch.tensor([2, 4]), 2.0)[:, 0].tolist() == pytest.approx(
        [1, 0.5], rel=2e-6
    )
    assert float(attention_threshold(4)) > 0.2499


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(wrong: float) -> None:
    weights = torch.tensor([[0.5, 0.5, 0.0], [wrong, 0.5, 0.5]])
    relevant = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match="not a number; found 1 of 2 queries"):
        measure(weights, relevant, torch.tensor([3, 3]))
    with pytest.raises(InputError, match="fixed must not be negative"):
        measure(weights[:1], relevant[:1], torch.tensor([3]), fixed=-2.0)
