"""The constraints against a plain twin that forms every content vector, one query at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from itm_core.constraints import NEGATIVES, SWAPS, ConstraintSettings, constraint_loss, derangement
from itm_core.encoders import EncoderSettings
from itm_core.errors import InputError
from itm_core.fragments import Fragments, l2norm
from itm_core.matchers import Attending, AttendingSettings, Seen
from itm_core.pairing import REGIONS, Matched

LENS, COUNTS = [6, 5, 4, 3, 6], [4, 4, 3, 2, 4]
IMAGE = torch.tensor([0, 1, 2, 2, 3])


def embeddings() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    V = l2norm(torch.randn(5, 4, 8, generator=draw, dtype=torch.float64))
    W = l2norm(torch.randn(5, 6, 8, generator=draw, dtype=torch.float64))
    V = V * (torch.arange(4) < torch.tensor(COUNTS)[:, None])[..., None]
    W = W * (torch.arange(6) < torch.tensor(LENS)[:, None])[..., None]
    return V, W, torch.randint(4, 8, (5, 6), generator=draw)


def attended(V: Tensor, W: Tensor, direction: str, gate: str = "none") -> Sequence[Seen]:
    settings = AttendingSettings(direction=direction, gate=gate, attention_temperature=4.0)
    matcher = Attending(3, 4, EncoderSettings(embedding=8), settings)
    return matcher.attend(
        Matched(Fragments.of(V, torch.tensor(COUNTS)), Fragments.of(W, torch.tensor(LENS)))
    )


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(x, y, dim=0)


def negative_weights(a: Tensor, kind: str) -> Tensor:
    n = len(a)
    if kind == "complement":
        return (1 - a) / (n - 1)
    if kind == "below_mean":
        return torch.where(a < 1 / n, a, 0.0)
    if kind == "bottom_k":
        least = a.argsort()[:2]
        return torch.zeros(n, dtype=a.dtype).index_fill(0, least, 0.5)
    return torch.softmax(-a.clamp_min(1e-20).log(), 0)


def plain_ccr(V: Tensor, W: Tensor, direction: str, kind: str, margin: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    seens = attended(V, W, direction)
    for seen in seens:
        for i in range(5):
            w = seen.weights[i, : LENS[i], 0, : COUNTS[i]]
            words, regions = W[i, : LENS[i]], V[i, : COUNTS[i]]
            words_ask = seen.axis == REGIONS
            A, Q, K = (w, words, regions) if words_ask else (w.T, regions, words)
            places = range(1, LENS[i] - 1) if words_ask else range(COUNTS[i])
            hinges = []
            for q in places:
                v = negative_weights(A[q], kind)
                if len(K) == 1 or not (v > 0).any():
                    continue
                passed, saw = (v[:, None] * K).sum(0), (A[q][:, None] * K).sum(0)
                gap = margin + cosine(Q[q], passed) - cosine(Q[q], saw)
                hinges.append(gap.clamp_min(0))
            if hinges:
                total = total + torch.stack(hinges).mean()
    return total / len(seens)


@pytest.mark.parametrize("kind", NEGATIVES)
@pytest.mark.parametrize("direction", ["t2i", "i2t", "both"])
def test_the_closed_form_equals_the_plain_one_forward_and_backward(
    direction: str, kind: str
) -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccr=1.0, negative=kind, bottom_k=2)
    slopes, values = [], []
    for plain in (False, True):
        v, w = V.clone().requires_grad_(), W.clone().requires_grad_()
        if plain:
            loss = plain_ccr(v, w, direction, kind, 0.2)
        else:
            seens = attended(v, w, direction)
            loss, _ = constraint_loss(seens, settings, tokens=tokens, image=IMAGE)
        values.append(loss.item())
        slopes.append(torch.autograd.grad(loss, (v, w)))
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert values[0] > 0
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-9, atol=1e-12)


def plain_ccs(seen: Seen, settings: ConstraintSettings, tokens: Tensor) -> Tensor:
    """Words ask; the hardest word of the other pair, which the generator's ring names."""
    other, apart = derangement(IMAGE, torch.Generator().manual_seed(3))
    V, W = seen.pairing.regions.vectors, seen.pairing.words.vectors
    total = torch.zeros((), dtype=torch.float64)
    for i in range(5):
        j, hinges = int(other[i]), []
        for q in range(1, LENS[i] - 1):
            saw = (seen.weights[i, q, 0, :, None] * V[i]).sum(0)
            foreign = [
                cosine(W[j, m], saw)
                for m in range(1, LENS[j] - 1)
                if tokens[j, m] != tokens[i, q] and apart[i]
            ]
            if foreign:
                gap = settings.ccs_margin + max(foreign) - cosine(W[i, q], saw)
                hinges.append(gap.clamp_min(0))
        if hinges:
            total = total + torch.stack(hinges).mean()
    return total


def test_the_hardest_swap_by_hand() -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccs=1.0, swap="hard", ccs_margin=0.3)
    seens = attended(V, W, "t2i")
    loss, _ = constraint_loss(
        seens, settings, tokens=tokens, image=IMAGE, generator=torch.Generator().manual_seed(3)
    )
    assert loss.item() == pytest.approx(plain_ccs(seens[0], settings, tokens).item(), abs=1e-12)


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("direction", ["t2i", "i2t", "both"])
def test_swaps_are_drawn_by_the_generator_alone(direction: str, swap: str) -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccs=1.0, swap=swap)
    found = [
        constraint_loss(
            attended(V, W, direction),
            settings,
            tokens=tokens,
            image=IMAGE,
            generator=torch.Generator().manual_seed(seed),
        )[0].item()
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_a_ring_never_gives_a_pair_itself_or_its_own_image_where_that_can_be() -> None:
    for seed in range(50):
        other, apart = derangement(IMAGE, torch.Generator().manual_seed(seed))
        assert sorted(other.tolist()) == list(range(5))
        assert (other != torch.arange(5)).all()
        assert apart.equal(IMAGE[other] != IMAGE)
        assert apart.all()  # five pairs of four images: a few rings find one
    assert not derangement(torch.zeros(3))[1].any()
    assert not derangement(torch.zeros(1))[1].any()


def test_no_foreign_query_no_loss() -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccs=1.0)
    loss, _ = constraint_loss(attended(V, W, "t2i"), settings, tokens=tokens, image=torch.zeros(5))
    assert loss == 0
    same = torch.full_like(tokens, 4)  # every word is the same word
    loss, _ = constraint_loss(attended(V, W, "t2i"), settings, tokens=same, image=IMAGE)
    assert loss == 0


def test_uniform_attention_costs_the_margin_and_is_pulled_towards_what_agrees() -> None:
    V, W, tokens = embeddings()
    matcher = Attending(
        3, 4, EncoderSettings(embedding=8), AttendingSettings(attention_temperature=1e-9)
    )
    V = l2norm(torch.randn(5, 4, 8, dtype=torch.float64))
    seens = matcher.attend(Matched(Fragments.of(V), Fragments.of(W, torch.tensor(LENS))))
    weights = seens[0].weights.detach().requires_grad_()
    seens[0].__dict__["weights"] = weights
    loss, watched = constraint_loss(
        seens, ConstraintSettings(ccr=1.0, ccr_margin=0.17), tokens=tokens, image=IMAGE
    )
    assert loss.item() == pytest.approx(5 * 0.17, abs=1e-6)
    assert watched["t2i_active"] == 1
    assert watched["t2i_gap"] == pytest.approx(0, abs=1e-6)
    assert watched["t2i_entropy"] == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-6)
    (slope,) = torch.autograd.grad(loss, weights)
    push, dots = -slope[0, 1, 0], seens[0].dots[0, 1, 0].detach()
    assert torch.corrcoef(torch.stack([push, dots]))[0, 1] > 0.9


def test_a_single_key_is_skipped() -> None:
    V, W, tokens = embeddings()
    one = Fragments.of(V[:, :1])
    matcher = Attending(3, 4, EncoderSettings(embedding=8), AttendingSettings())
    seens = matcher.attend(Matched(one, Fragments.of(W, torch.tensor(LENS))))
    loss, _ = constraint_loss(seens, ConstraintSettings(ccr=1.0), tokens=tokens, image=IMAGE)
    assert loss == 0


def test_stopped_words_do_not_ask_and_values_can_be_left_alone() -> None:
    V, W, tokens = embeddings()
    stop = tokens.unique()
    settings = ConstraintSettings(ccr=1.0, queries="content")
    loss, _ = constraint_loss(
        attended(V, W, "t2i"), settings, tokens=tokens, image=IMAGE, stop=stop
    )
    assert loss == 0
    values = []
    for detach in (False, True):
        settings = ConstraintSettings(ccr=1.0, detach_values=detach)
        loss, _ = constraint_loss(attended(V, W, "t2i"), settings, tokens=tokens, image=IMAGE)
        values.append(loss.item())
    assert values[0] == pytest.approx(values[1], abs=1e-12)


@pytest.mark.parametrize(
    ("key", "value"),
    [("negative", "worst"), ("swap", "never"), ("ccr", -1.0), ("bottom_k", 0), ("pairs", "some")],
)
def test_impossible_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(InputError, match=key):
        ConstraintSettings(**{key: value})
