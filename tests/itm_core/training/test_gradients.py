"""The gradient in pieces is the gradient of the whole batch, dropout and constraints included."""

from __future__ import annotations

import pytest
import torch

from itm_core.constraints import constraint_loss
from itm_core.evaluation import scoring
from itm_core.experiments import recipes
from itm_core.experiments.recipes import Recipe
from itm_core.models import Matcher
from itm_core.models.pair_dropout import resample_dropout
from itm_core.models.pairing import AllPairs, Matched, Pairing
from itm_core.training import gradients
from itm_core.training.gradients import Batch, gradient_step
from itm_core.training.losses import ranking_loss

NAMES = (
    "scan-t2i-mean",
    "scan-i2t-LSE",
    "bfan-prob",
    "saf",
    "sgr",
    "rcar-t2i",
    "rcr-i2t",
    "rar-i2t",
    "imram-full",
    "chan",
    "vse-gpo",
    "vsrn",
    "scan-t2i-mean+rcar+ccr+ccs",
)


def batch(n: int = 5) -> Batch:
    draw = torch.Generator().manual_seed(1)
    lens = torch.tensor([4, 7, 3, 6, 4][:n])
    tokens = torch.randint(3, 20, (n, 7), generator=draw) * (torch.arange(7) < lens[:, None])
    features = torch.randn(n, 4, 6, generator=draw, dtype=torch.float64)
    return Batch(features, tokens, lens, torch.arange(n))


def built(recipe: Recipe) -> Matcher:
    torch.manual_seed(2)
    matcher = recipe.build(6, 20, 4).double().train()
    for part in matcher.modules():  # this one has no way to draw the same again
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return matcher


def plain_step(matcher: Matcher, recipe: Recipe, b: Batch, *, hardest: bool) -> float:
    """All pairs at once, with their graph, and backward."""
    regions, words = matcher.regions(b.features), matcher.words(b.tokens, b.lens)
    resample_dropout(matcher)
    scores = matcher(AllPairs(regions, words)).T
    loss = ranking_loss(scores, recipe.loss, hardest=hardest)
    if recipe.constraints.active:
        seens = matcher.attend(Matched(regions, words))
        generator = torch.Generator().manual_seed(7)
        loss = loss + constraint_loss(
            seens, recipe.constraints, tokens=b.tokens, image=b.image, generator=generator
        )
    loss.backward()
    return loss.item()


@pytest.mark.parametrize("kind", ["hardest", "sum", "info_nce"])
@pytest.mark.parametrize(
    ("tile", "share", "parts"), [(1, 0.0, 4), (300, 0.25, 1), (10_000_000, 1.0, 1)]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_in_pieces_is_the_step_of_the_whole_batch(
    name: str, tile: int, share: float, parts: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "VECTOR_TILE", tile)
    monkeypatch.setattr(scoring, "GRAPH_TILE", tile)
    monkeypatch.setattr(scoring, "CACHE_TILE", tile)
    monkeypatch.setattr(gradients, "SPARSE_SHARE", share)  # tile by tile, or pair by pair
    monkeypatch.setattr(gradients, "PAIRS_AT_ONCE", parts)
    loss = "info_nce" if kind == "info_nce" else "hinge"
    recipe = recipes.get(f"{name}-smoke").replace("encoder.embedding=8", "encoder.word_width=5")
    recipe = recipe.changed({"loss": {"kind": loss, "temperature": 0.5}})
    pieces, whole = built(recipe), built(recipe)
    torch.manual_seed(5)
    value = gradient_step(
        pieces,
        batch(),
        recipe.loss,
        hardest=kind == "hardest",
        constraints=recipe.constraints,
        generator=torch.Generator().manual_seed(7),
    )
    torch.manual_seed(5)
    expected = plain_step(whole, recipe, batch(), hardest=kind == "hardest")
    assert value == pytest.approx(expected, rel=1e-6)
    for (parameter, a), b in zip(pieces.named_parameters(), whole.parameters(), strict=True):
        x = torch.zeros_like(a) if a.grad is None else a.grad
        y = torch.zeros_like(b) if b.grad is None else b.grad
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-7, msg=parameter)


def counted_scores(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of pairs of every call of the matcher."""
    counts: list[int] = []
    forward = type(matcher).forward

    def counting(self: Matcher, pairing: Pairing) -> torch.Tensor:
        scores = forward(self, pairing)
        counts.append(scores.numel())
        return scores

    monkeypatch.setattr(type(matcher), "forward", counting)
    return counts


@pytest.mark.parametrize(
    ("name", "loss", "hardest", "twice"),
    [
        ("rcar-t2i", "hinge", False, False),  # the matching pairs alone are scored again
        ("rcar-t2i", "hinge", True, True),
        ("rcar-t2i", "info_nce", False, True),
        ("saf", "hinge", False, True),  # batch statistics: a pair cannot be scored alone
    ],
)
def test_all_pairs_are_scored_twice_only_where_the_loss_needs_them_first(
    name: str, loss: str, hardest: bool, twice: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.get(f"{name}-smoke").replace("encoder.embedding=8", "encoder.word_width=5")
    recipe = recipe.changed({"loss": {"kind": loss, "temperature": 0.5}})
    matcher = built(recipe)
    counts = counted_scores(matcher, monkeypatch)
    monkeypatch.setattr(gradients, "SPARSE_SHARE", 0.0)  # no pair is left out
    gradient_step(matcher, batch(), recipe.loss, hardest=hardest)
    assert sum(counts) == (25 + 25 if twice else 5 + 25 + 5)
