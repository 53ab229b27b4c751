"""Whole vectors against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import Fragments
from itm_core.encoders.pooling import (
    POOLINGS,
    Gpo,
    GruPooling,
    RegionNorm,
    SelfAttention,
    make_pooling,
)
from itm_core.errors import InputError

LENS = torch.tensor([5, 3, 1])


def ragged() -> Fragments:
    torch.manual_seed(0)
    vectors = torch.randn(3, 5, 6, dtype=torch.float64)
    return Fragments.of(vectors * (torch.arange(5) < LENS[:, None])[..., None], LENS)


def unit(x: Tensor) -> Tensor:
    return x / (x.norm() + 1e-8)


@pytest.mark.parametrize("kind", ["mean", "max", "last"])
def test_plain_poolings_use_real_fragments_alone(kind: str) -> None:
    module = make_pooling(kind, 6)
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
        local, pooled = module.local(x), module.pooled(x.mean(0))
        if count:
            scale = module.local_norm
            assert isinstance(scale, nn.BatchNorm1d)
            local = scale(local[None])[0]
            pooled = module.pooled_norm(pooled[None])[0]
        share = module.weigh(local.tanh() * pooled.tanh()).softmax(0)
        torch.testing.assert_close(row, unit((share * x).sum(0)))


def test_self_attention_over_places_says_which_number_of_regions_it_was_made_for() -> None:
    with pytest.raises(InputError, match="expected 5 regions at most, found 6"):
        SelfAttention(6, 5)(Fragments.of(torch.randn(2, 6, 6)))


def test_a_norm_for_each_region_index_sees_the_images_that_have_it() -> None:
    torch.manual_seed(4)
    norm = RegionNorm(7).double()
    for p in (*norm.parameters(), norm.running_mean, norm.running_var):
        nn.init.uniform_(p, 0.1, 0.9)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x, mask = ragged().vectors, ragged().mask
    after = norm(x, mask)
    for r in range(7):
        of_index = x[mask[:, r], r].flatten() if r < 5 else x.new_zeros(0)
        mean, var = before["running_mean"][r], before["running_var"][r]
        if r < 5:
            centred = (of_index - of_index.mean()) / (of_index.var(correction=0) + 1e-5).sqrt()
            expected = centred * norm.weight[r] + norm.bias[r]
            torch.testing.assert_close(after[mask[:, r], r].flatten(), expected)
            mean = 0.9 * mean + 0.1 * of_index.mean()
            var = 0.9 * var + 0.1 * of_index.var()
        torch.testing.assert_close(norm.running_mean[r], mean)
        torch.testing.assert_close(norm.running_var[r], var)


def test_a_norm_of_full_images_is_the_library_s_bit_for_bit() -> None:
    x = torch.randn(4, 5, 6)
    ours, theirs = RegionNorm(5), nn.BatchNorm1d(5)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours(x, torch.ones(4, 5, dtype=torch.bool)), theirs(x))


@pytest.mark.parametrize("kind", ["gru", "gru_norm"])
def test_a_gru_reads_the_real_regions_one_by_one(kind: str) -> None:
    torch.manual_seed(3)
    module = make_pooling(kind, 6)
    assert isinstance(module, GruPooling)
    module.double().eval()
    for p in (*module.parameters(), *(b for b in module.buffers() if b.ndim)):
        nn.init.uniform_(p, 0.1, 0.9)
    cell, bn = nn.GRUCell(6, 6).double(), module.bn
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in module.rnn.state_dict().items()})
    for row, one, n in zip(module(ragged()), ragged().vectors, LENS.tolist(), strict=True):
        state = torch.zeros(1, 6).double()
        for k in range(n):
            state = cell(one[None, k], state)
        if isinstance(bn, nn.BatchNorm1d):
            assert bn.running_mean is not None
            assert bn.running_var is not None
            state = (state - bn.running_mean) / (bn.running_var + bn.eps).sqrt()
            state = state * bn.weight + bn.bias
        torch.testing.assert_close(row, unit(state[0]))
    assert isinstance(bn, nn.BatchNorm1d) is (kind == "gru_norm")


KINDS = [kind for kind in POOLINGS if kind != "none"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pooled_vector_has_unit_length_and_ignores_padding_whatever_is_in_it(kind: str) -> None:
    torch.manual_seed(4)
    module = make_pooling(kind, 6)
    assert module is not None
    if isinstance(module, nn.Module):
        module.double().eval()
    pooled = module(ragged())
    torch.testing.assert_close(pooled.norm(dim=1), torch.ones(3).double())
    wider = torch.cat([ragged().vectors, torch.zeros(3, 2, 6)], 1)
    wider[torch.arange(7) >= LENS[:, None]] = 7.0  # BERT makes vectors of padding
    torch.testing.assert_close(module(Fragments.of(wider, LENS)), pooled)


@pytest.mark.parametrize("kind", ["mean", "max", "last", "gpo", "self_attention"])
def test_fragments_of_zeros_have_a_pooled_vector_of_zeros(kind: str) -> None:
    module = make_pooling(kind, 6)
    assert module is not None
    zeros = torch.zeros(2, 3, 6, requires_grad=True)
    pooled = module(Fragments.of(zeros))
    pooled.sum().backward()
    assert torch.equal(pooled, torch.zeros(2, 6))
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_none_makes_nothing() -> None:
    assert make_pooling("none", 4) is None
