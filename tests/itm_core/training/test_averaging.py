"""Weights averaged over the last steps of a training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from itm_core.experiments import recipes
from itm_core.models import Matcher
from itm_core.training.gradients import Batch
from tests.itm_core.training.test_trainer import RECIPE, trainer, weights


@pytest.mark.parametrize(("share", "count"), [(0.25, 5), (0.5, 10), (0.01, 1)])
def test_the_weights_of_the_last_steps_are_averaged(
    tmp_path: Path, share: float, count: int
) -> None:
    """3 epochs of 7 steps: of 21 steps a quarter is 5, a half 10 (banker's), the least 1."""
    made = trainer(tmp_path, RECIPE.replace(f"training.averaging={share}"))
    step, seen, scored = made._step, [], []
    score_dev = made.score_dev

    def kept(batch: Batch) -> None:
        step(batch)
        seen.append(weights(made.matcher))

    def watched(matcher: Matcher) -> dict[str, float]:
        scored.append(matcher is made.matcher)
        return score_dev(matcher)

    made._step, made.score_dev = kept, watched
    made.run()
    assert len(seen) == 21
    assert scored == [True, count < 8, False]
    for name, value in weights(made.evaluated).items():
        mean = torch.stack([one[name].double() for one in seen[-count:]]).mean(0)
        torch.testing.assert_close(value.double(), mean, rtol=0, atol=1e-6)
        assert torch.equal(made.matcher.state_dict()[name], seen[-1][name])


def test_averaging_changes_nothing_but_what_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = trainer(tmp_path / "plain")
    averaged = trainer(tmp_path, RECIPE.replace("training.averaging=0.5"))
    losses = [[row["loss"] for row in one.run().curve] for one in (plain, averaged)]
    assert losses[0] == losses[1]
    assert plain.evaluated is plain.matcher
    for name, value in weights(plain.matcher).items():
        assert torch.equal(value, weights(averaged.matcher)[name])


def test_the_average_is_what_is_saved_as_the_best(tmp_path: Path) -> None:
    made = trainer(tmp_path, RECIPE.replace("training.averaging=0.9"))  # from the first epoch on
    saved: list[object] = []
    save = made.save
    made.save = lambda matcher, path: (saved.append(matcher), save(matcher, path))
    made.run()
    assert made.averaged is not None
    assert saved
    assert all(matcher is made.averaged.module for matcher in saved)


def test_batch_statistics_are_averaged_with_the_weights(tmp_path: Path) -> None:
    small = ("encoder.embedding=8", "encoder.word_width=6", "matcher.width=4", "training.batch=8")
    recipe = recipes.get("saf-smoke").replace(*small, "training.epochs=2", "training.averaging=0.4")
    made = trainer(tmp_path, recipe)
    step, seen = made._step, []

    def kept(batch: Batch) -> None:
        step(batch)
        seen.append(weights(made.matcher))

    made._step = kept
    made.run()
    names = [name for name in seen[0] if "running_var" in name]
    assert names
    for name in names:
        mean = torch.stack([one[name] for one in seen[-6:]]).mean(0)  # 0.4 of 14 steps
        torch.testing.assert_close(weights(made.evaluated)[name], mean)
        assert not torch.equal(mean, seen[-1][name])
