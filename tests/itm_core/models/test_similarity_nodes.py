"""SAF's normalisation in training: one caption a batch, running averages caption by caption."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from itm_core.evaluation import scoring
from itm_core.experiments import recipes
from itm_core.models.pairing import AllPairs
from itm_core.models.similarity_nodes import CaptionNorm
from itm_core.training import gradients
from itm_core.training.gradients import Batch, gradient_step
from itm_core.training.losses import hinge


def plain(norm: nn.BatchNorm1d, x: Tensor, lens: list[int]) -> Tensor:
    """The released loop: one call for every caption, ``[images, 1, nodes]``."""
    rows = []
    for caption, n in zip(x, lens, strict=True):
        y = norm(caption[:n].T[:, None])[:, 0].T
        rows.append(torch.nn.functional.pad(y, (0, 0, 0, len(caption) - n)))
    return torch.stack(rows)


def test_all_captions_at_once_equal_the_loop_forward_backward_and_in_running_averages() -> None:
    torch.manual_seed(0)
    ours, theirs = CaptionNorm().double(), nn.BatchNorm1d(1).double()
    lens = [5, 3, 4]
    mask = (torch.arange(5) < torch.tensor(lens)[:, None])[:, :, None]
    for _ in range(3):
        x = torch.randn(3, 5, 7, dtype=torch.float64)
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = ours(a, mask, torch.arange(3)) * mask, plain(theirs, b, lens)
        torch.testing.assert_close(y, z)
        cotangent = torch.randn_like(y)
        (y * cotangent).sum().backward()
        (z * cotangent).sum().backward()
        torch.testing.assert_close(a.grad, b.grad)
        ours.update_running_stats(ours.batch_stats(3))
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
    ours.eval(), theirs.eval()
    x = torch.randn(3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(ours(x, mask, torch.arange(3)) * mask, plain(theirs, x, lens))


def test_statistics_are_ordered_by_index_in_the_batch_whatever_the_tiles() -> None:
    x = torch.randn(4, 3, 5)
    straight, shuffled = CaptionNorm(), CaptionNorm()
    straight(x, None, torch.arange(4))
    order = torch.tensor([2, 0, 3, 1])
    for part in order.split(2):  # in two tiles, each scored twice
        shuffled(x[part] + 1, None, part)
        shuffled(x[part], None, part)
    stats = straight.batch_stats(4)
    assert torch.equal(stats, shuffled.batch_stats(4))
    torch.testing.assert_close(stats[:, 0], x.mean((1, 2)))
    assert not shuffled.batch_stats(4).any()  # collected anew for each step


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
@pytest.mark.parametrize("captions", [1, 2, 128])
def test_the_closed_form_equals_one_update_after_another(captions: int, kind: torch.dtype) -> None:
    torch.manual_seed(captions)
    norm = CaptionNorm().to(kind)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    for _ in range(20):
        stats = torch.rand(captions, 2, dtype=kind) * 3
        for row in stats:
            mean.lerp_(row[0], norm.momentum)
            var.lerp_(row[1], norm.momentum)
        norm.update_running_stats(stats)
    tolerance = 1e-12 if kind == torch.float64 else 1e-6
    torch.testing.assert_close(norm.running_mean, mean, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(norm.running_var, var, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("hardest", [True, False])
@pytest.mark.parametrize("tile", [10, 200, 10_000_000])
def test_training_steps_move_parameters_and_averages_as_the_whole_batch_would(
    tile: int, hardest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "VECTOR_TILE", tile)
    monkeypatch.setattr(scoring, "GRAPH_TILE", tile)
    monkeypatch.setattr(gradients, "SPARSE_SHARE", 1.0)  # a caption is never taken apart
    recipe = recipes.get("saf-smoke").replace("encoder.embedding=8", "encoder.word_width=5")
    torch.manual_seed(3)
    matcher = recipe.build(6, 20, 4).double().train()
    whole = recipe.build(6, 20, 4).double().train()
    whole.load_state_dict(matcher.state_dict())
    for m in (matcher, whole):
        for part in m.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    lens = torch.tensor([4, 6, 3, 4, 5])  # met by length, settled in this order
    for step in range(3):
        tokens = torch.randint(3, 20, (5, 6)) * (torch.arange(6) < lens[:, None])
        features = torch.randn(5, 4, 6, dtype=torch.float64)
        batch = Batch(features, tokens, lens.roll(step), torch.arange(5))
        value = gradient_step(matcher, batch, recipe.loss, hardest=hardest)
        scores = whole(AllPairs(whole.regions(features), whole.words(tokens, batch.lens))).T
        loss = hinge(scores, recipe.loss.margin, hardest=hardest)
        loss.backward()
        for part in whole.modules():
            if isinstance(part, CaptionNorm):
                part.update_running_stats(part.batch_stats(5))
        assert value == pytest.approx(loss.item())
    for (name, a), b in zip(matcher.named_parameters(), whole.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9, msg=name)
    for (name, a), b in zip(matcher.named_buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, msg=name)
