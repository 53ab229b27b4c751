"""Attention, alignment and aggregation against plain references and hand-worked cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from itm_book.reference import scan_scores
from itm_book.reference.scan import KINDS
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.models import Attending, AttendingSettings
from itm_core.models.aggregation import AGGREGATIONS, aggregate, contributions
from itm_core.models.attention import NORMALISATIONS, attend, choose, focused, normalise
from itm_core.models.pairing import REGIONS, WORDS, AllPairs, Candidates, Matched

SCAN_AGGREGATIONS = [kind for kind in AGGREGATIONS if kind != "softmax"]  # that one is CHAN's
ROOMY = EncoderSettings(embedding=4, word_width=2)


def some_fragments(
    images: int, regions: int, lens: list[int], width: int, seed: int = 0
) -> tuple[Fragments, Fragments]:
    """Return unit regions and unit words in float64, words padded with zeros."""
    draw = torch.Generator().manual_seed(seed)
    V = l2norm(torch.randn(images, regions, width, generator=draw, dtype=torch.float64))
    W = l2norm(torch.randn(len(lens), max(lens), width, generator=draw, dtype=torch.float64))
    W = W * (torch.arange(max(lens)) < torch.tensor(lens)[:, None])[..., None]
    return Fragments.of(V), Fragments.of(W, torch.tensor(lens))


def scan(**choices: object) -> Attending:
    return Attending(3, 5, ROOMY, AttendingSettings(**choices))


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aggregation", SCAN_AGGREGATIONS)
def test_scan_equals_its_plain_twin(direction: str, kind: str, aggregation: str) -> None:
    V, W = some_fragments(4, 6, [5, 1, 7, 3], 8)
    choices = {"direction": direction, "normalisation": kind, "aggregation": aggregation}
    scores = scan(**choices)(AllPairs(V, W)).T
    reference = scan_scores(V.vectors, W.vectors, W.lens.tolist(), **choices)
    torch.testing.assert_close(scores, reference, rtol=1e-10, atol=1e-10)


@given(
    images=st.integers(1, 4),
    regions=st.integers(1, 5),
    lens=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    direction=st.sampled_from(["t2i", "i2t"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_equals_the_twin(
    images: int, regions: int, lens: list[int], direction: str, seed: int
) -> None:
    V, W = some_fragments(images, regions, lens, 5, seed)
    scores = scan(direction=direction)(AllPairs(V, W)).T
    reference = scan_scores(V.vectors, W.vectors, lens, direction=direction)
    torch.testing.assert_close(scores, reference, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_padding_changes_nothing(direction: str) -> None:
    V, W = some_fragments(3, 4, [4, 2], 6)
    wider = torch.cat([W.vectors, torch.zeros(2, 3, 6)], 1)
    more = torch.cat([V.vectors, torch.zeros(3, 2, 6)], 1)
    matcher = scan(direction=direction)
    expected = matcher(AllPairs(V, W))
    padded = AllPairs(Fragments.of(more, torch.tensor([4, 4, 4])), Fragments.of(wider, W.lens))
    torch.testing.assert_close(matcher(padded), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("gradients", [False, True])
def test_all_pairings_give_the_same_scores(direction: str, gradients: bool) -> None:
    V, W = some_fragments(4, 5, [3, 6, 2, 4], 7)
    if gradients:
        V, W = (Fragments(f.vectors.requires_grad_(), f.lens) for f in (V, W))
    matcher = scan(direction=direction)
    every = matcher(AllPairs(V, W))
    torch.testing.assert_close(matcher(Matched(V, W))[:, 0], every.diagonal())
    shortlist = torch.tensor([[0, 3], [2, 1], [1, 1], [3, 0]])
    chosen = matcher(Candidates(V, W, shortlist))
    torch.testing.assert_close(chosen, every.gather(1, shortlist))


def test_mixes_agree_with_the_plain_sum() -> None:
    V, W = some_fragments(3, 4, [5, 2, 3], 6)
    A = torch.rand(3, 5, 3, 4, dtype=torch.float64)
    every, own = AllPairs(V, W), Matched(V, W)
    regions = torch.einsum("clir,ird->clid", A, V.vectors)
    words = torch.einsum("clir,cld->cird", A, W.vectors)
    torch.testing.assert_close(every.mix(A, REGIONS)[:, :, :, 0], regions)
    torch.testing.assert_close(every.mix(A, WORDS)[:, 0], words)
    torch.testing.assert_close(every.norm_of_mix(A, REGIONS)[..., 0], regions.norm(dim=-1))
    torch.testing.assert_close(every.norm_of_mix(A, WORDS)[:, 0], words.norm(dim=-1))
    own_regions = torch.einsum("cli,ird->clrd", torch.ones(3, 5, 3).double(), V.vectors)
    assert own.mix(A[:, :, :1], REGIONS).shape == (3, 5, 1, 1, 6)
    assert own_regions.shape[-1] == own.mix(A[:, :, :1], WORDS).shape[-1]
    plain = torch.einsum("clr,crd->cld", A[:, :, 0], V.vectors)
    torch.testing.assert_close(own.mix(A[:, :, :1], REGIONS)[:, :, 0, 0], plain)
    torch.testing.assert_close(
        own.norm_of_mix(A[:, :, :1], REGIONS)[:, :, 0, 0], plain.norm(dim=-1)
    )


@pytest.mark.parametrize("axis", [REGIONS, WORDS])
@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_attention_sums_to_one_over_what_is_real(axis: int, kind: str) -> None:
    V, W = some_fragments(2, 3, [4, 2], 5)
    pairing = AllPairs(V, W)
    A = attend(pairing.dot(), pairing, axis, kind=kind, temperature=9.0)
    torch.testing.assert_close(A.sum(axis), torch.ones_like(A.sum(axis)))
    if axis == WORDS:
        assert (A[1, 2:] == 0).all()


def test_the_gates_by_hand() -> None:
    weights = torch.tensor([0.5, 0.3, 0.2, 0.0]).view(1, 1, 1, 4)
    kept = focused(weights, REGIONS, "equal").flatten()  # above one quarter
    assert kept.tolist() == pytest.approx([0.625, 0.375, 0, 0])
    root = weights.sqrt()
    threshold = (weights * root).sum() / root.sum()  # 0.372
    assert 0.3 < threshold < 0.5
    assert focused(weights, REGIONS, "prob").flatten().tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("gate", ["equal", "prob"])
def test_a_gate_that_would_keep_nothing_keeps_everything(gate: str) -> None:
    even = torch.full((1, 1, 1, 4), 0.25, requires_grad=True)
    kept = focused(even, REGIONS, gate)
    assert kept.flatten().tolist() == [0.25] * 4
    kept[0, 0, 0, 0].backward()
    assert even.grad is not None
    assert even.grad.isfinite().all()


def test_hard_attention_chooses_the_best_real_fragment() -> None:
    V, W = some_fragments(2, 4, [3, 2], 5)
    pairing = AllPairs(V, W)
    S = pairing.dot()
    assert torch.equal(choose(S, pairing, REGIONS), S.argmax(3, keepdim=True))
    chosen = choose(S + 9 * (torch.arange(3) == 2)[:, None, None], pairing, WORDS)
    assert (chosen[0] == 2).all()
    assert (chosen[1] < 2).all()  # the third word of the second caption is padding


def test_clipped_l2norm_by_hand() -> None:
    S = torch.tensor([[[[3.0, -10.0]], [[4.0, 0.0]]]])  # two words, one image, two regions
    Z = normalise(S, "clipped_l2norm", WORDS)
    torch.testing.assert_close(Z, torch.tensor([[[[0.6, -1.0]], [[0.8, 0.0]]]]))


def test_aggregations_by_hand() -> None:
    relevance = torch.tensor([0.1, 0.5, 0.9]).view(1, 3, 1, 1)
    mask = torch.tensor([True, True, False]).view(1, 3, 1, 1)
    expected = {
        "mean": 0.3,
        "sum": 0.6,
        "max": 0.5,
        "LSE": 0.5 * torch.tensor([0.2, 1.0]).exp().sum().log().item(),
        "softmax": (torch.tensor([0.2, 1.0]).softmax(0) * torch.tensor([0.1, 0.5])).sum().item(),
    }
    for kind, value in expected.items():
        score = aggregate(relevance, WORDS, kind=kind, temperature=2.0, mask=mask)
        assert score.item() == pytest.approx(value, abs=1e-6), kind


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_explanations_add_up_to_what_all_pairs_scored(direction: str, aggregation: str) -> None:
    V, W = some_fragments(4, 5, [3, 6, 2, 4], 7)
    matcher = scan(direction=direction, aggregation=aggregation)
    output = matcher.explain(V, W)
    torch.testing.assert_close(output.total(), output.score)
    scored = matcher(AllPairs(V, W)).diagonal()
    torch.testing.assert_close(output.score[:, 0], scored, rtol=1e-9, atol=1e-9)


def test_max_contribution_names_the_winner_alone() -> None:
    relevance = torch.tensor([0.1, 0.7, 0.9]).view(1, 3, 1, 1)
    mask = torch.tensor([True, True, False]).view(1, 3, 1, 1)
    share = contributions(relevance, WORDS, kind="max", mask=mask).flatten()
    assert share.tolist() == pytest.approx([0.0, 0.7, 0.0])


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("trouble", ["zero regions", "duplicate regions", "cancelling regions"])
def test_gradients_stay_finite_where_regions_are_odd(direction: str, trouble: str) -> None:
    V, W = some_fragments(3, 4, [3, 2, 4], 6)
    odd = V.vectors.clone()
    if trouble == "zero regions":
        odd[0] = 0
    elif trouble == "duplicate regions":
        odd[0] = odd[0, :1]
    else:
        odd[0, 1], odd[0, 3] = -odd[0, 0], -odd[0, 2]
    odd.requires_grad_()
    words = W.vectors.clone().requires_grad_()
    scan(direction=direction)(
        AllPairs(Fragments.of(odd), Fragments.of(words, W.lens))
    ).sum().backward()
    assert odd.grad is not None
    assert odd.grad.isfinite().all()
    assert words.grad is not None
    assert words.grad.isfinite().all()


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_gradients_are_right(direction: str) -> None:
    V, W = some_fragments(2, 3, [3, 2], 4)
    matcher = scan(direction=direction, aggregation="LSE")

    def scores(regions: Tensor, words: Tensor) -> Tensor:
        return matcher(AllPairs(Fragments.of(regions), Fragments.of(words, W.lens)))

    inputs = V.vectors.requires_grad_(), (W.vectors + 0.0).requires_grad_()
    assert torch.autograd.gradcheck(scores, inputs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("direction", "up"),
        ("normalisation", "l3norm"),
        ("aggregation", "median"),
        ("attention_temperature", -1.0),
    ],
)
def test_impossible_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(InputError, match=key):
        AttendingSettings(**{key: value})
