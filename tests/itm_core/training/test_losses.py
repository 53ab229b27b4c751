"""The hinge loss against its term-by-term reference."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from itm_book import reference
from itm_core.errors import InputError
from itm_core.training.losses import (
    LossSettings,
    hinge,
    hinge_of_captions,
    info_nce,
    ranking_loss,
)


@given(n=st.integers(2, 6), seed=st.integers(0, 999), hardest=st.booleans())
def test_hinge_equals_its_twin(n: int, seed: int, hardest: bool) -> None:
    scores = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ours = hinge(scores, 0.2, hardest=hardest).item()
    assert ours == pytest.approx(reference.hinge(scores, 0.2, hardest), abs=1e-12)


@given(n=st.integers(2, 6), seed=st.integers(0, 999), split=st.integers(1, 5))
def test_the_parts_of_the_captions_add_up_to_the_hinge(n: int, seed: int, split: int) -> None:
    scores = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    matching = scores.diagonal().clone()
    scores.fill_diagonal_(99)  # not read
    parts = [
        hinge_of_captions(scores[:, captions], matching, captions, 0.2).item()
        for captions in order.split(split)
    ]
    whole = reference.hinge(scores.diagonal_scatter(matching), 0.2, False)
    assert sum(parts) == pytest.approx(whole, abs=1e-12)


def test_a_settled_batch_has_no_loss() -> None:
    assert hinge(torch.eye(4), 0.2) == 0


def test_a_margin_of_zero_is_refused() -> None:
    with pytest.raises(InputError, match="margin"):
        LossSettings(margin=0.0)
    assert LossSettings(kind="info_nce", margin=0.0).margin == 0


@given(n=st.integers(2, 6), seed=st.integers(0, 999), margin=st.sampled_from([0.0, 0.05]))
def test_info_nce_equals_the_plain_sum(n: int, seed: int, margin: float) -> None:
    scores = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    total = 0.0
    for i in range(n):
        row = sum(
            math.exp((scores[i, j] - scores[i, i] + margin) / 0.5) for j in range(n) if j != i
        )
        col = sum(
            math.exp((scores[j, i] - scores[i, i] + margin) / 0.5) for j in range(n) if j != i
        )
        total += (math.log1p(row) + math.log1p(col)) / n
    assert info_nce(scores, 0.5, margin).item() == pytest.approx(total, abs=1e-12)


def test_info_nce_does_not_overflow_where_exponentials_do() -> None:
    scores = torch.tensor([[0.0, 13.0], [5.0, 0.0]], requires_grad=True)
    loss = ranking_loss(
        scores, LossSettings(kind="info_nce", margin=0.0, temperature=0.01), hardest=True
    )
    loss.backward()
    assert loss.item() == pytest.approx((1300 + 500) / 2 + (500 + 1300) / 2, rel=1e-6)
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
