"""The composed matcher: every pairing the same, any tile the same, odd shapes, what is recorded."""

from __future__ import annotations

import pytest
import torch

from itm_core.encoders.fragments import Fragments
from itm_core.evaluation import scoring
from itm_core.evaluation.scoring import score_fragments
from itm_core.experiments import recipes
from itm_core.models import Matcher
from itm_core.models.pairing import REGIONS, WORDS, AllPairs, Candidates, Matched

NAMES = ("bfan-equal", "bfan-prob", "saf", "sgr", "imram-full", "chan", "rcar-t2i", "rcar-i2t")
NAMES += ("rcr-i2t", "rar-t2i", "pfan-t2i")


def built(name: str, *changes: str) -> Matcher:
    torch.manual_seed(0)
    recipe = recipes.get(f"{name}-smoke").replace(
        "encoder.embedding=8", "encoder.word_width=5", "encoder.positions=none", *changes
    )
    matcher = recipe.build(6, 20, 4).double().eval()
    for parameter in matcher.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return matcher


def encoded(matcher: Matcher, n: int = 4) -> tuple[Fragments, Fragments]:
    torch.manual_seed(1)
    lens = torch.tensor([6, 3, 5, 2][:n])
    tokens = torch.randint(3, 20, (n, 6)) * (torch.arange(6) < lens[:, None])
    with torch.no_grad():
        return matcher.regions(torch.randn(n, 4, 6).double()), matcher.words(tokens, lens)


@pytest.mark.parametrize("name", NAMES)
def test_all_pairings_and_any_tiles_give_the_same_scores(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = built(name)
    V, W = encoded(matcher)
    every = matcher(AllPairs(V, W))
    torch.testing.assert_close(matcher(Matched(V, W))[:, 0], every.diagonal())
    shortlist = torch.tensor([[0, 3], [2, 1], [1, 1], [3, 0]])
    chosen = matcher(Candidates(V, W, shortlist))
    torch.testing.assert_close(chosen, every.gather(1, shortlist))
    for tile in (1, 300, 10**9):
        monkeypatch.setattr(scoring, "VECTOR_TILE", tile)
        monkeypatch.setattr(scoring, "CACHE_TILE", tile)
        torch.testing.assert_close(score_fragments(matcher, V.chunks(3), W), every.T)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trouble", ["one of each", "zero regions", "duplicate regions"])
def test_odd_shapes_are_scored_and_have_finite_gradients(name: str, trouble: str) -> None:
    matcher = built(name)
    V, W = encoded(matcher, 1 if trouble == "one of each" else 4)
    if trouble == "one of each":
        V = Fragments.of(V.vectors[:, :1], pooled=V.pooled)
        W = Fragments.of(W.vectors[:, :1], pooled=W.pooled)
    vectors = V.vectors.clone()
    if trouble == "zero regions":
        vectors[0] = 0
    elif trouble == "duplicate regions":
        vectors[0] = vectors[0, :1]
    vectors.requires_grad_()
    scores = matcher(AllPairs(Fragments.of(vectors, pooled=V.pooled), W))
    assert scores.isfinite().all()
    scores.sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "axes", "passes", "pooling"),
    [
        ("bfan-prob", [REGIONS, WORDS], 1, 0),
        ("saf", [REGIONS], 1, 1),
        ("sgr", [REGIONS], 1, 1),
        ("imram-full", [REGIONS, WORDS], 3, 0),
        ("chan", [REGIONS], 1, 0),
        ("rcar-t2i", [REGIONS], 2, 2),
        ("rcr-i2t", [WORDS], 4, 0),
        ("rar-t2i", [REGIONS], 1, 3),
    ],
)
def test_the_record_holds_every_pass_and_every_step(
    name: str, axes: list[int], passes: int, pooling: int
) -> None:
    matcher = built(name)
    output = matcher.explain(*encoded(matcher))
    assert [look.key_axis for look in output.directions] == axes
    for look in output.directions:
        assert (len(look.passes), len(look.pooling)) == (passes, pooling)
    torch.testing.assert_close(output.total(), output.score)
    regulator = recipes.get(name).regulator
    for look in output.directions:
        steered = [attention_pass.control.factors for attention_pass in look.passes]
        assert steered[0] is None
        for factors in steered[1:]:
            assert (factors is not None) == (regulator.kind in ("rcr", "rcar"))
        queries = [d if axis != look.key_axis else 1 for axis, d in enumerate(look.weights.shape)]
        assert all(list(weights.shape) == queries for weights in look.pooling)
        assert list(look.contribution.shape) == queries
    for attention, look in zip(
        matcher.attend(Matched(*encoded(matcher))), output.directions, strict=True
    ):
        assert torch.equal(attention.weights, look.weights)


def test_hard_attention_is_recorded_as_the_region_that_won() -> None:
    matcher = built("chan")
    V, W = encoded(matcher)
    output = matcher.explain(V, W).directions[0]
    attention_pass = output.passes[0]
    assert attention_pass.chosen is not None
    assert output.weights.sum(REGIONS).allclose(torch.ones(()).double())
    real = W.mask[:, :, None, None]
    best = attention_pass.dots.amax(REGIONS, keepdim=True)
    assert output.relevance is not None
    torch.testing.assert_close(output.relevance[real], best[real])


@pytest.mark.parametrize(("direction", "axis"), [("t2i", REGIONS), ("i2t", WORDS)])
def test_hard_attention_gives_each_query_its_best_similarity_as_its_share(
    direction: str, axis: int
) -> None:
    matcher = built("chan", f"matcher.direction={direction}", "matcher.aggregation=mean")
    V, W = encoded(matcher)
    output = matcher.explain(V, W).directions[0]
    assert output.contribution is not None
    for i, (regions, words, n) in enumerate(
        zip(V.vectors, W.vectors, W.lens.tolist(), strict=True)
    ):
        best = (words[:n] @ regions.T).amax(1 if axis == REGIONS else 0)
        share = (
            output.contribution[i, :n, 0, 0] if axis == REGIONS else output.contribution[i, 0, 0]
        )
        torch.testing.assert_close(share, best / len(best))
        torch.testing.assert_close(output.score[i, 0], best.mean())
