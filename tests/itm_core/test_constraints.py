"""The constraints against a plain reference with every content vector, query by query."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from itm_core.constraints import (
    CCR,
    CCS,
    NEGATIVES,
    SWAPS,
    ConstraintSettings,
    QueryKeyBatch,
    check_constraints,
    constraint_loss,
    derangement,
)
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.models import Attending, AttendingSettings, AttentionPass
from itm_core.models.attention import normalise
from itm_core.models.pairing import REGIONS, WORDS, Matched

LENS, COUNTS = [6, 5, 4, 3, 6], [4, 4, 3, 2, 4]
IMAGE = torch.tensor([0, 1, 2, 2, 3])


def embeddings() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    V = l2norm(torch.randn(5, 4, 8, generator=draw, dtype=torch.float64))
    W = l2norm(torch.randn(5, 6, 8, generator=draw, dtype=torch.float64))
    V = V * (torch.arange(4) < torch.tensor(COUNTS)[:, None])[..., None]
    W = W * (torch.arange(6) < torch.tensor(LENS)[:, None])[..., None]
    return V, W, torch.randint(4, 8, (5, 6), generator=draw)


def attended(V: Tensor, W: Tensor, direction: str, gate: str = "none") -> Sequence[AttentionPass]:
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
    passes = attended(V, W, direction)
    for attention_pass in passes:
        for i in range(5):
            w = attention_pass.weights[i, : LENS[i], 0, : COUNTS[i]]
            words, regions = W[i, : LENS[i]], V[i, : COUNTS[i]]
            words_are_queries = attention_pass.key_axis == REGIONS
            A, Q, K = (w, words, regions) if words_are_queries else (w.T, regions, words)
            places = range(1, LENS[i] - 1) if words_are_queries else range(COUNTS[i])
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
    return total / len(passes)


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
            passes = attended(v, w, direction)
            loss = constraint_loss(passes, settings, tokens=tokens, image=IMAGE)
        values.append(loss.item())
        slopes.append(torch.autograd.grad(loss, (v, w)))
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert values[0] > 0
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-9, atol=1e-12)


def plain_ccs(
    attention_pass: AttentionPass, settings: ConstraintSettings, tokens: Tensor
) -> Tensor:
    """The generator's ring names the other pair; its next numbers order the candidates."""
    draw = torch.Generator().manual_seed(3)
    other, apart = derangement(IMAGE, draw)
    words_are_queries = attention_pass.key_axis == REGIONS
    V, W = attention_pass.pairing.regions.vectors, attention_pass.pairing.words.vectors
    Q, K = (W, V) if words_are_queries else (V, W)
    A = attention_pass.weights[:, :, 0] if words_are_queries else attention_pass.weights[:, :, 0].mT
    order = torch.rand(5, Q.shape[1], Q.shape[1], generator=draw)
    asking = [
        range(1, n - 1) if words_are_queries else range(m)
        for n, m in zip(LENS, COUNTS, strict=True)
    ]
    saw = [[(A[i, q, :, None] * K[i]).sum(0) for q in range(Q.shape[1])] for i in range(5)]
    total = torch.zeros((), dtype=torch.float64)
    for i in range(5):
        j, hinges = int(other[i]), []
        for q in asking[i] if apart[i] else ():
            found = []
            for m in asking[j]:
                if words_are_queries and tokens[j, m] == tokens[i, q]:
                    continue
                keys = settings.swap == "keys"
                R = cosine(Q[i, q], saw[j][m]) if keys else cosine(Q[j, m], saw[i][q])
                found.append((R if settings.swap == "hard" else order[i, q, m], R))
            if found:
                foreign = max(found, key=lambda pair: pair[0].item())[1]
                gap = settings.ccs_margin + foreign - cosine(Q[i, q], saw[i][q])
                hinges.append(gap.clamp_min(0))
        if hinges:
            total = total + torch.stack(hinges).mean()
    return total


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_swaps_equal_the_plain_ones_forward_and_backward(direction: str, swap: str) -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccs=1.0, swap=swap, ccs_margin=0.3)
    values, slopes = [], []
    for plain in (False, True):
        v, w = V.clone().requires_grad_(), W.clone().requires_grad_()
        passes, draw = attended(v, w, direction), torch.Generator().manual_seed(3)
        if plain:
            loss = plain_ccs(passes[0], settings, tokens)
        else:
            loss = constraint_loss(passes, settings, tokens=tokens, image=IMAGE, generator=draw)
        values.append(loss.item())
        slopes.append(torch.autograd.grad(loss, (v, w)))
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert values[0] > 0
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_reverse_softmax_turns_the_scores_upside_down(direction: str) -> None:
    V, W, tokens = embeddings()
    (attention_pass,) = attended(V, W, direction)
    batch = QueryKeyBatch.of(attention_pass, ConstraintSettings(), tokens, IMAGE, IMAGE)
    found, _ = CCR(ConstraintSettings(negative="reverse_softmax")).negative(batch)
    asking, asked_side = (WORDS, REGIONS) if direction == "t2i" else (REGIONS, WORDS)
    Z = normalise(attention_pass.dots, "clipped_l2norm", asking)
    for i in range(5):
        z, words, regions = Z[i, : LENS[i], 0, : COUNTS[i]], W[i, : LENS[i]], V[i, : COUNTS[i]]
        z, Q, K = (z, words, regions) if asked_side == REGIONS else (z.T, regions, words)
        for q in range(len(Q)):
            content = (torch.softmax(-4.0 * z[q], 0)[:, None] * K).sum(0)
            assert found[i, q].item() == pytest.approx(cosine(Q[q], content).item(), abs=1e-12)


def test_the_gate_keeps_the_half_of_the_regions_that_agrees_best() -> None:
    V, W, tokens = embeddings()
    (attention_pass,) = attended(V, W, "i2t")
    everyone = QueryKeyBatch.of(attention_pass, ConstraintSettings(), tokens, IMAGE, IMAGE)
    kept = QueryKeyBatch.of(
        attention_pass, ConstraintSettings(gate_regions=True), tokens, IMAGE, IMAGE
    ).constrained
    agree = everyone.relevance(everyone.weights)
    assert kept.sum(1).tolist() == [2, 2, 2, 1, 2]  # of four, four, three, two and four
    for i in range(5):
        best = agree[i, : COUNTS[i]].argsort(descending=True)[: int(kept[i].sum())]
        assert sorted(best.tolist()) == kept[i].nonzero().flatten().tolist()


def test_what_is_watched_of_swaps() -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccs=1.0, ccs_margin=10.0)  # no hinge is at rest
    watched: dict[str, float] = {}
    loss = constraint_loss(
        attended(V, W, "t2i"), settings, tokens=tokens, image=IMAGE, monitored=watched
    )
    assert set(watched) == {"t2i_ccs_active", "t2i_ccs_gap", "t2i_ccs_entropy"}
    assert watched["t2i_ccs_active"] == 1
    assert abs(watched["t2i_ccs_gap"]) <= 2
    assert loss > 0


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
        ).item()
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


def test_of_all_pairs_a_word_is_swapped_for_one_of_another_image_s_caption() -> None:
    """Two images, two captions, all four pairs: the swapped caption can only be the other one."""
    V, W, tokens = embeddings()
    image, caption = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    lens = torch.tensor(LENS)[caption]
    words = Fragments.of(W[caption], lens)
    matcher = Attending(3, 4, EncoderSettings(embedding=8), AttendingSettings())
    (attention,) = matcher.attend(Matched(Fragments.of(V[image]), words))
    settings = ConstraintSettings(ccs=1.0, swap="hard", exclude_same_word=False)
    for seed in range(8):
        batch = QueryKeyBatch.of(attention, settings, tokens[caption], image, caption)
        found, exists = CCS(settings, torch.Generator().manual_seed(seed)).negative(batch)
        assert exists[batch.constrained].any()
        for pair in exists.any(1).nonzero().flatten().tolist():
            other = W[1 - caption[pair]][1 : LENS[1 - caption[pair]] - 1]
            seen = attention.weights[pair, :, 0] @ V[image[pair]]
            expected = torch.stack([cosine(word, seen[1]) for word in other]).max()
            torch.testing.assert_close(found[pair, 1], expected)


def test_equal_weights_in_double_precision_are_not_below_their_mean() -> None:
    for keys in range(1, 60):
        weights = torch.full((1, 1, keys), 1 / keys, dtype=torch.float64)
        assert not NEGATIVES["below_mean"](weights, torch.ones(1, 1, keys).bool(), 0).any()


def test_no_foreign_query_no_loss() -> None:
    V, W, tokens = embeddings()
    settings = ConstraintSettings(ccs=1.0)
    loss = constraint_loss(attended(V, W, "t2i"), settings, tokens=tokens, image=torch.zeros(5))
    assert loss == 0
    same = torch.full_like(tokens, 4)  # every word is the same word
    loss = constraint_loss(attended(V, W, "t2i"), settings, tokens=same, image=IMAGE)
    assert loss == 0


def test_uniform_attention_costs_the_margin_and_is_pulled_towards_what_agrees() -> None:
    V, W, tokens = embeddings()
    matcher = Attending(
        3, 4, EncoderSettings(embedding=8), AttendingSettings(attention_temperature=1e-9)
    )
    V = l2norm(torch.randn(5, 4, 8, dtype=torch.float64))
    passes = matcher.attend(Matched(Fragments.of(V), Fragments.of(W, torch.tensor(LENS))))
    weights = passes[0].weights.detach().requires_grad_()
    passes[0].__dict__["weights"] = weights
    watched: dict[str, float] = {}
    settings = ConstraintSettings(ccr=1.0, ccr_margin=0.17)
    loss = constraint_loss(passes, settings, tokens=tokens, image=IMAGE, monitored=watched)
    assert loss.item() == pytest.approx(5 * 0.17, abs=1e-6)
    assert watched["t2i_active"] == 1
    assert watched["t2i_gap"] == pytest.approx(0, abs=1e-6)
    assert watched["t2i_entropy"] == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-6)
    (slope,) = torch.autograd.grad(loss, weights)
    push, dots = -slope[0, 1, 0], passes[0].dots[0, 1, 0].detach()
    assert torch.corrcoef(torch.stack([push, dots]))[0, 1] > 0.9


def test_a_single_key_is_skipped() -> None:
    V, W, tokens = embeddings()
    one = Fragments.of(V[:, :1])
    matcher = Attending(3, 4, EncoderSettings(embedding=8), AttendingSettings())
    passes = matcher.attend(Matched(one, Fragments.of(W, torch.tensor(LENS))))
    loss = constraint_loss(passes, ConstraintSettings(ccr=1.0), tokens=tokens, image=IMAGE)
    assert loss == 0


def test_stopped_words_do_not_ask_and_values_can_be_left_alone() -> None:
    V, W, tokens = embeddings()
    stop = tokens.unique()
    settings = ConstraintSettings(ccr=1.0, queries="content")
    loss = constraint_loss(attended(V, W, "t2i"), settings, tokens=tokens, image=IMAGE, stop=stop)
    assert loss == 0


def test_detached_values_keep_the_gradient_of_what_was_passed_over_out_of_the_keys() -> None:
    V, W, tokens = embeddings()
    values, slopes = [], []
    for detach in (False, True):
        v = V.clone().requires_grad_()
        (attention_pass,) = attended(v, W, "t2i")
        attention_pass.__dict__["weights"] = (
            attention_pass.weights.detach()
        )  # the keys' own part alone
        settings = ConstraintSettings(ccr=1.0, detach_values=detach)
        found, _ = CCR(settings).negative(
            QueryKeyBatch.of(attention_pass, settings, tokens, IMAGE, IMAGE)
        )
        values.append(found.sum().item())
        found = found.sum() + 0 * v.sum()  # so that there is a graph in either case
        slopes.append(torch.autograd.grad(found, v)[0].abs().max().item())
    assert values[0] == pytest.approx(values[1], abs=1e-12)
    assert slopes[0] > 0.01
    assert slopes[1] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [("negative", "worst"), ("swap", "never"), ("ccr", -1.0), ("bottom_k", 0), ("pairs", "some")],
)
def test_impossible_settings_are_refused(key: str, value: object) -> None:
    with pytest.raises(InputError, match=key):
        ConstraintSettings(**{key: value})


@pytest.mark.parametrize(
    ("changes", "host", "message"),
    [
        ({}, {"attention": "hard"}, "soft attention"),
        ({"direction": "i2t"}, {}, "no attention to constrain"),
    ],
)
def test_constraints_that_would_do_nothing_are_refused(
    changes: dict[str, str], host: dict[str, str], message: str
) -> None:
    fits = {"attention": "soft", "direction": "t2i"}
    with pytest.raises(InputError, match=message):
        check_constraints(ConstraintSettings(ccr=1.0, **changes), **{**fits, **host})
    check_constraints(ConstraintSettings(**changes), **{**fits, **host})  # off: nothing to say
    check_constraints(ConstraintSettings(ccr=1.0), **fits)
