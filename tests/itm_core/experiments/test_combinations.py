"""Every legal combination builds, trains two steps, scores, and explains what it scored.

With ``--slow`` all of them; else a few in which every two options that fit together meet.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
import torch

from itm_core.constraints import CONSTRAINTS
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.recipes import Recipe
from itm_core.models import DIRECTIONS, Matcher
from itm_core.models.aggregation import AGGREGATIONS
from itm_core.models.attending import ATTENTIONS
from itm_core.models.attention import GATES
from itm_core.models.pairing import AllPairs
from itm_core.models.similarity_nodes import NODE_AGGREGATIONS
from itm_core.regulators import REGULATORS
from itm_core.training.gradients import Batch, gradient_step
from itm_core.training.optimisation import make_optimiser

FEATURES, WORDS, REGIONS, BATCH = 7, 11, 4, 4
SIZE = {
    "encoder": {
        "embedding": 8,
        "word_width": 5,
        "image_pooling": "self_attention",
        "text_pooling": "self_attention",
    },
    "matcher": {"width": 4},
    "regulator": {"width": 4},
    "training": {"learning_rate": 0.01, "batch": BATCH},
}
WEIGHTS = [  # every subset of the constraints
    dict(zip(CONSTRAINTS, weights, strict=True))
    for weights in itertools.product((0.0, 1.0), repeat=len(CONSTRAINTS))
]
PLAIN = recipes.get("scan-t2i-mean-smoke").changed(SIZE)

Choice = tuple[str, str, str, str, str, dict[str, float]]
CHOICES: list[Choice] = list(
    itertools.product(
        DIRECTIONS,
        ATTENTIONS,
        GATES,
        (*AGGREGATIONS, *NODE_AGGREGATIONS),
        ("none", *REGULATORS),
        WEIGHTS,
    )
)


def recipe_of(choice: Choice) -> Recipe:
    direction, attention, gate, aggregation, regulator, weights = choice
    return PLAIN.changed(
        {
            "matcher": {
                "direction": direction,
                "attention": attention,
                "gate": gate,
                "aggregation": aggregation,
            },
            "regulator": {"kind": regulator, "steps": 2},
            "constraints": weights,
        }
    )


def legal() -> Iterator[Recipe]:
    for choice in CHOICES:
        try:
            yield recipe_of(choice)
        except InputError:
            continue


def must_be_refused(choice: Choice) -> bool:
    """The rules, written a second time."""
    _, attention, gate, aggregation, kind, weights = choice
    hard, regulator = attention == "hard", REGULATORS.get(kind)
    return (
        (hard and gate != "none")
        or (hard and regulator is not None and regulator.changes_attention)
        or (hard and any(weights.values()))
        or (aggregation in NODE_AGGREGATIONS and regulator is not None and regulator.sums_scores)
    )


def in_pairs(choices: list[Choice]) -> list[Choice]:
    """Some of the choices, in which every two options occur together that do so in all of them."""
    seen: set[tuple[tuple[int, str], ...]] = set()
    kept = []
    for choice in random.Random(0).sample(choices, len(choices)):
        pairs = set(itertools.combinations(enumerate(map(repr, choice)), 2))
        if pairs - seen:
            kept.append(choice)
            seen |= pairs
    return kept


LEGAL = [choice for choice in CHOICES if not must_be_refused(choice)]
FEW = in_pairs(LEGAL)


def batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    lens = torch.tensor([5, 4, 3, 3])
    tokens = torch.randint(4, WORDS, (BATCH, 5), generator=draw)
    tokens[:, 0] = 1
    for row, n in zip(tokens, lens.tolist(), strict=True):
        row[n - 1], row[n:] = 2, 0
    features = torch.randn(BATCH, REGIONS, FEATURES, generator=draw)
    return Batch(features, tokens, lens, torch.arange(BATCH))


def trained(recipe: Recipe, steps: int = 2) -> tuple[Matcher, list[float]]:
    torch.manual_seed(1)
    matcher = recipe.build(FEATURES, WORDS, REGIONS).train()
    optimiser = make_optimiser(matcher, recipe.training)
    losses = []
    for k in range(steps):
        optimiser.zero_grad(set_to_none=True)
        losses.append(
            gradient_step(
                matcher,
                batch(),
                recipe.loss,
                hardest=k > 0,
                constraints=recipe.constraints,
                generator=torch.Generator().manual_seed(k),
            )
        )
        optimiser.step()
    return matcher.eval(), losses


def check(recipe: Recipe) -> None:
    before = recipe.build(FEATURES, WORDS, REGIONS).state_dict()
    matcher, losses = trained(recipe)
    assert all(torch.isfinite(torch.tensor(losses)))
    after = matcher.state_dict()
    assert after.keys() == before.keys()
    assert all(value.isfinite().all() for value in after.values())
    b = batch()
    with torch.no_grad():
        regions, words = matcher.regions(b.features), matcher.words(b.tokens, b.lens)
        scores = matcher(AllPairs(regions, words))
        output = matcher.explain(regions, words)
    torch.testing.assert_close(output.score[:, 0], scores.diagonal(), atol=1e-6, rtol=0)
    torch.testing.assert_close(output.total()[:, 0], scores.diagonal(), atol=1e-6, rtol=0)
    for look in output.directions:
        sums = look.weights.sum(look.key_axis)
        real = (torch.arange(5) < b.lens[:, None])[:, :, None, None]
        sums = sums if look.key_axis == 1 else sums[real.expand(-1, -1, 1, 1).squeeze(3)]
        torch.testing.assert_close(sums, torch.ones_like(sums), atol=1e-5, rtol=0)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("aggregation", [*AGGREGATIONS, *NODE_AGGREGATIONS])
@pytest.mark.parametrize(
    "choices",
    [pytest.param(FEW, id="pairs"), pytest.param(LEGAL, id="all", marks=pytest.mark.slow)],
)
def test_every_legal_combination_trains_scores_and_explains(
    direction: str, aggregation: str, choices: list[Choice]
) -> None:
    mine = [choice for choice in choices if (choice[0], choice[3]) == (direction, aggregation)]
    assert mine
    for choice in mine:
        check(recipe_of(choice))


def test_the_others_are_refused_and_the_count_is_known() -> None:
    refused = 0
    for choice in CHOICES:
        if must_be_refused(choice):
            refused += 1
            with pytest.raises(InputError):
                recipe_of(choice)
    print(f"{len(CHOICES) - refused} legal combinations, {refused} refused")
    assert len(CHOICES) - refused == sum(1 for _ in legal()) == count_legal()


def count_legal() -> int:
    """Count by multiplication: soft attention and hard attention, cosines and vectors."""
    regulators = list(REGULATORS.values())
    soft = len(AGGREGATIONS) * (1 + len(regulators))
    soft += len(NODE_AGGREGATIONS) * (1 + sum(not r.sums_scores for r in regulators))
    hard = len(AGGREGATIONS) + len(NODE_AGGREGATIONS)
    hard *= 1 + sum(not r.changes_attention for r in regulators)
    return len(DIRECTIONS) * (soft * len(GATES) * len(WEIGHTS) + hard)


@pytest.mark.parametrize("aggregation", ["mean", "SAF", "SGR"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", [k for k, r in REGULATORS.items() if r.min_steps])
def test_zero_steps_are_the_plain_host_bit_for_bit(
    kind: str, direction: str, aggregation: str
) -> None:
    host = PLAIN.changed({"matcher": {"direction": direction, "aggregation": aggregation}})
    idle = host.changed({"regulator": {"kind": kind, "steps": 0}})
    same(host, idle)


@pytest.mark.parametrize("aggregation", ["mean", "SAF"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_rar_without_a_step_trains_scores_and_explains(direction: str, aggregation: str) -> None:
    host = PLAIN.changed({"matcher": {"direction": direction, "aggregation": aggregation}})
    check(host.changed({"regulator": {"kind": "rar", "steps": 0}}))


@pytest.mark.parametrize("aggregation", ["mean", "LSE", "SAF"])
def test_zero_weights_are_the_plain_host_bit_for_bit(aggregation: str) -> None:
    host = PLAIN.changed({"matcher": {"direction": "both", "aggregation": aggregation}})
    idle = host.changed({"constraints": {"ccr": 0.0, "ccs": 0.0, "ccr_margin": 0.7}})
    same(host, idle)


def same(one: Recipe, other: Recipe) -> None:
    (a, losses), (b, others) = trained(one), trained(other)
    assert losses == others
    x, y = a.state_dict(), b.state_dict()
    assert x.keys() == y.keys()
    assert all(torch.equal(x[name], y[name]) for name in x)
