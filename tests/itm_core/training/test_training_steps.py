"""What a training step and an epoch do: rates, clipping, decay, warm-up, the best epoch."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_core.models import Matcher
from itm_core.training import optimisation
from itm_core.training.batches import batches, step_seed
from itm_core.training.gradients import gradient_step
from itm_core.training.optimisation import make_optimiser
from itm_core.training.trainer import Trainer
from tests.itm_core.training.test_trainer import RECIPE, trainer


def test_every_group_gets_the_rate_of_the_epoch_times_its_scale(tmp_path: Path) -> None:
    t, rates = trainer(tmp_path), []
    t.optimiser.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "scale": 0.5})

    def score(matcher: Matcher) -> dict[str, float]:
        rates.append([group["lr"] for group in t.optimiser.param_groups])
        return {"rsum": 0.0}

    t.score_dev = score
    t.run()
    expected = [[0.01, 0.005], [0.01, 0.005], [0.001, 0.0005]]
    np.testing.assert_allclose(rates, expected)


class WithBert(torch.nn.Module):
    """Parameters named as those of a matcher that reads words with BERT."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.ModuleDict(
            {"bert": torch.nn.Linear(2, 3), "linear": torch.nn.Linear(3, 4)}
        )
        self.regions = torch.nn.BatchNorm1d(5)


def test_bert_has_a_rate_of_its_own() -> None:
    matcher = WithBert()
    training = RECIPE.training.replace(bert_learning_rate=0.004)
    others, bert = make_optimiser(matcher, training).param_groups
    assert {id(p) for p in bert["params"]} == {id(p) for p in matcher.words["bert"].parameters()}
    assert len(others["params"]) == 4
    assert (others["scale"], bert["scale"]) == (1.0, pytest.approx(0.4))
    _, same = make_optimiser(matcher, RECIPE.training).param_groups  # none of its own
    assert same["scale"] == 1.0


@pytest.mark.parametrize(("optimiser", "decay", "left"), [("adamw", 0.5, 0.995), ("adam", 0, 1)])
def test_weight_decay_shrinks_every_parameter(optimiser: str, decay: float, left: float) -> None:
    """Biases and norms too, as in the releases: p - rate * decay * p where there is no gradient."""
    matcher = WithBert()
    training = RECIPE.replace(
        f"training.optimiser={optimiser}", f"training.weight_decay={decay}"
    ).training
    for parameter in matcher.parameters():
        torch.nn.init.uniform_(parameter, 1, 2)
        parameter.grad = torch.zeros_like(parameter)
    before = [p.detach().clone() for p in matcher.parameters()]
    make_optimiser(matcher, training).step()
    for old, new in zip(before, matcher.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), left * old)


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_steps_are_those_made_by_hand(tmp_path: Path, clip: float) -> None:
    """Two steps: the gradient of one batch, cut to a norm of ``clip``, then Adam by its formula."""
    t = trainer(tmp_path, RECIPE.replace(f"training.grad_clip={clip}", "loss.warmup_epochs=1"))
    ours = [p.detach().clone() for p in t.matcher.parameters()]
    first, second = (torch.zeros_like(p) for p in ours), (torch.zeros_like(p) for p in ours)
    means, squares = list(first), list(second)
    t.matcher.train()
    for group in t.optimiser.param_groups:
        group["lr"] = 0.01
    for step, chosen in enumerate(batches(t.batches.pairs, t.recipe.training, 0, 0)[:2], 1):
        batch, hand = t.batches.build(chosen, 0, 0), copy.deepcopy(t.matcher)
        hand.zero_grad()
        gradient_step(hand, batch, t.recipe.loss, hardest=False)
        slopes = [p.grad for p in hand.parameters()]
        norm = sum(float(g.double().square().sum()) for g in slopes) ** 0.5
        assert 0.1 < norm < 1e4
        t._step(batch)
        scale = min(1.0, clip / norm)
        for k, (slope, p) in enumerate(zip(slopes, t.matcher.parameters(), strict=True)):
            torch.testing.assert_close(p.grad, slope * scale, rtol=1e-4, atol=1e-8)
            means[k] = 0.9 * means[k] + 0.1 * p.grad
            squares[k] = 0.999 * squares[k] + 0.001 * p.grad.square()
            mean, square = means[k] / (1 - 0.9**step), squares[k] / (1 - 0.999**step)
            ours[k] = ours[k] - 0.01 * mean / (square.sqrt() + 1e-8)
            torch.testing.assert_close(p.detach(), ours[k], rtol=1e-4, atol=1e-6)


def watched(t: Trainer, monkeypatch: pytest.MonkeyPatch, **returned: list[float]) -> list[dict]:
    """Return what every step of a trainer is asked for, each step giving the next of ``values``."""
    asked: list[dict] = []
    values = iter(returned.get("values", [1.0] * 100))

    def step(matcher: Matcher, batch: object, loss: object, **options: object) -> float:
        asked.append({"epoch": t.state.epoch, "training": matcher.training, **options})
        return next(values)

    monkeypatch.setattr(optimisation, "gradient_step", step)
    return asked


@pytest.mark.parametrize("hardest", [True, False])
def test_warm_up_and_constraints_begin_at_their_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hardest: bool
) -> None:
    recipe = RECIPE.replace(
        "loss.warmup_epochs=1",
        "constraints.ccr=1.0",
        "constraints.from_epoch=2",
        "training.epochs=4",
    ).changed({"loss": {"hardest": hardest}})
    t = trainer(tmp_path, recipe)
    asked = watched(t, monkeypatch)
    t.run()
    assert len(asked) == 4 * 7
    for step in asked:
        assert step["hardest"] is (hardest and step["epoch"] >= 1)
        assert step["constraints"] == (recipe.constraints if step["epoch"] >= 2 else None)


def test_the_first_of_the_best_epochs_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = trainer(tmp_path, RECIPE.replace("training.epochs=5"))
    watched(t, monkeypatch)
    numbers, saved = iter([5.0, 7.0, 7.0, 6.0, 6.5]), []
    t.score_dev = lambda matcher: {"rsum": next(numbers)}
    t.save = lambda matcher, path: saved.append(path.write_text(f"epoch {t.state.epoch}"))
    t.run()
    assert len(saved) == 2
    assert [path.name for path in tmp_path.glob("best*")] == ["best.safetensors"]
    assert t.best_path.read_text() == "epoch 1"
    assert t.state.best == 7.0
    assert [row["rsum"] for row in t.state.curve] == [5.0, 7.0, 7.0, 6.0, 6.5]


def test_the_curve_has_the_mean_loss_of_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = trainer(tmp_path, RECIPE.replace("training.epochs=2"))
    watched(t, monkeypatch, values=[float(k) for k in range(14)])
    curve = t.run().curve
    assert [(row["epoch"], row["loss"]) for row in curve] == [(1, 3.0), (2, 10.0)]


def test_every_step_is_made_in_training_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scoring the development images between two epochs leaves the matcher in evaluation mode."""
    t = trainer(tmp_path)
    asked = watched(t, monkeypatch)
    t.score_dev = lambda matcher: {"rsum": float(matcher.eval().training)}
    t.run()
    assert len(asked) == 3 * 7
    assert all(step["training"] for step in asked)


def test_no_two_steps_draw_the_same() -> None:
    """Neither in one epoch nor in two, and another seed draws otherwise."""
    steps = itertools.product((0, 1), range(3), range(5))
    assert len({step_seed(*step) for step in steps}) == 30
