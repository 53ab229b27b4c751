"""Dropout that belongs to a pair, not to the moment it is met."""

from __future__ import annotations

import pytest
import torch

from itm_core.encoders.fragments import Fragments
from itm_core.models.pair_dropout import PairDropout, resample_dropout
from itm_core.models.pairing import AllPairs, Matched


def fragments() -> tuple[Fragments, Fragments]:
    return Fragments.of(torch.randn(6, 3, 4)), Fragments.of(torch.randn(5, 7, 4))


def test_a_pair_has_the_same_mask_wherever_it_is_met() -> None:
    V, W = fragments()
    dropout = PairDropout(0.4)
    resample_dropout(dropout)
    x = torch.ones(5, 7, 6, 1, 8)
    every = dropout(x, AllPairs(V, W).pair_ids())
    captions, images = torch.tensor([4, 1]), torch.tensor([5, 0, 2])
    tile = AllPairs(V.take(images), W.take(captions)).pair_ids()
    expected = every[captions][:, :, images]
    assert torch.equal(dropout(torch.ones(2, 7, 3, 1, 8), tile), expected)
    own = Matched(V.take(torch.tensor([3, 3])), W.take(captions)).pair_ids()
    assert torch.equal(dropout(torch.ones(2, 7, 1, 1, 8), own)[:, :, 0], every[captions, :, 3])


@pytest.mark.parametrize("p", [0.1, 0.4, 0.5, 0.8])
def test_the_share_and_the_mean_are_right(p: float) -> None:
    torch.manual_seed(0)
    dropout = PairDropout(p)
    resample_dropout(dropout)
    names = torch.arange(40)[:, None] * (1 << 32) + torch.arange(40)
    y = dropout(torch.ones(40, 5, 40, 1, 16), names)
    gone = (y == 0).double()
    sd = (p * (1 - p)) ** 0.5
    assert gone.mean().item() == pytest.approx(p, abs=5 * sd / 128_000**0.5)
    assert y.mean().item() == pytest.approx(1, abs=0.02)
    per_pair = gone.mean((1, 3, 4)).flatten()  # independent: spread as for coins
    assert per_pair.std().item() == pytest.approx(sd / 80**0.5, rel=0.1)
    per_entry = gone.mean((0, 2)).flatten()
    assert per_entry.std().item() == pytest.approx(sd / 40, rel=0.4)


def test_each_step_draws_anew_and_evaluation_draws_nothing() -> None:
    names, x = torch.arange(6).view(2, 3), torch.ones(2, 4, 3, 1, 9)
    dropout = PairDropout(0.5)
    resample_dropout(dropout)
    first = dropout(x, names)
    assert torch.equal(dropout(x, names), first)
    resample_dropout(dropout)
    assert not torch.equal(dropout(x, names), first)
    assert dropout.eval()(x, names) is x
    assert PairDropout(0.0)(x, names) is x
