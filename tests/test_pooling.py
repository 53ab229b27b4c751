"""Whole vectors against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from itm_core.fragments import Fragments
from itm_core.pooling import Gpo, SelfAttention, make_whole
from itm_core.region_graph import RegionGraph

LENS = torch.tensor([5, 3, 1])


def ragged() -> Fragments:
    torch.manual_seed(0)
    vectors = torch.randn(3, 5, 6, dtype=torch.float64)
    return Fragments.of(vectors * (torch.arange(5) < LENS[:, None])[..., None], LENS)


def unit(x: Tensor) -> Tensor:
    return x / (x.norm() + 1e-8)


@pytest.mark.parametrize("kind", ["mean", "max", "last"])
def test_plain_poolings_see_real_fragments_alone(kind: str) -> None:
    module = make_whole(kind, 6)
    assert module is not None
    pick = {"mean": lambda x: x.mean(0), "max": lambda x: x.amax(0), "last": lambda x: x[-1]}[kind]
    for row, one, n in zip(module(ragged()), ragged().vectors, LENS.tolist(), strict=True):
        torch.testing.assert_close(row, unit(pick(one[:n])))


def test_gpo_sorts_each_channel_and_weighs_ranks() -> None:
    torch.manual_seed(1)
    gpo, x = Gpo().double(), ragged()
    weights = gpo.weights(x.lens, 5, x.vectors)
    torch.testing.assert_close(weights.sum(1), torch.ones(3).double())
    for row, one, w, n in zip(gpo(x), x.vectors, weights, LENS.tolist(), strict=True):
        assert (w[n:] == 0).all()
        expected = sum(w[k] * one[:n].sort(0, descending=True).values[k] for k in range(n))
        torch.testing.assert_close(row, expected)


def test_gpo_does_not_mind_negative_values_or_padding() -> None:
    torch.manual_seed(1)
    gpo = Gpo().double()
    short = Fragments.of(-torch.rand(2, 3, 4).double())
    wide = torch.cat([short.vectors, torch.zeros(2, 2, 4)], 1)
    padded = Fragments.of(wide, torch.tensor([3, 3]))
    torch.testing.assert_close(gpo(padded), gpo(short))


@pytest.mark.parametrize("count", [None, 5])
def test_self_attention_is_the_plain_sum(count: int | None) -> None:
    torch.manual_seed(2)
    module = SelfAttention(6, count).double().eval()
    for p in module.parameters():
        nn.init.normal_(p, std=0.5)
    full = Fragments.of(torch.randn(3, 5, 6, dtype=torch.float64)) if count else ragged()
    for k, (row, n) in enumerate(zip(module(full), full.lens.tolist(), strict=True)):
        x = full.vectors[k, :n]
        local, whole = module.local(x), module.whole(x.mean(0))
        if count:
            scale = module.local_norm
            assert isinstance(scale, nn.BatchNorm1d)
            local = scale(local[None])[0]
            whole = module.whole_norm(whole[None])[0]
        share = module.weigh(local.tanh() * whole.tanh()).softmax(0)
        torch.testing.assert_close(row, unit((share * x).sum(0)))


def test_a_region_graph_starts_as_the_identity_over_normalised_channels() -> None:
    v = torch.randn(2, 4, 6)
    out = RegionGraph(6)(v, v)
    torch.testing.assert_close(out, v / v.norm(dim=1, keepdim=True))


def test_none_makes_nothing() -> None:
    assert make_whole("none", 4) is None
