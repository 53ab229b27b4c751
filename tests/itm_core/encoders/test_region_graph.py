"""The region graph against plain loops, and the authors' regions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from itm_book.parity import compare_file
from itm_core.encoders.encoder import EncoderSettings, RegionEncoder
from itm_core.encoders.region_blocks import GraphStep, RegionGraph
from tests.places import GOLDEN


def stirred(graph: RegionGraph) -> RegionGraph:
    """Return the graph in float64 with every number random, batch statistics too."""
    torch.manual_seed(0)
    for p in (*graph.double().parameters(), *(b for b in graph.buffers() if b.ndim)):
        nn.init.uniform_(p, 0.1, 0.9)
    return graph


def looped(step: GraphStep, v: Tensor) -> Tensor:
    """Return ``W (R g(v))`` of one image ``[R, D]``, region by region."""
    rows = []
    for i in v:
        seen = [(step.theta(i) @ step.phi(j)) * step.g(j) for j in v]
        rows.append(step.out(sum(seen[1:], seen[0]) / len(v)))
    return torch.stack(rows)


def normed(step: GraphStep, y: Tensor, batch: Tensor) -> Tensor:
    """Return the batch norm of ``y``, with the statistics of ``batch [n, D]`` or stored ones."""
    centre, spread = step.norm.running_mean, step.norm.running_var
    if step.training:
        centre, spread = batch.mean(0), batch.var(0, unbiased=False)
    assert centre is not None
    assert spread is not None
    return (y - centre) / (spread + step.norm.eps).sqrt() * step.norm.weight + step.norm.bias


def over_regions(images: list[Tensor]) -> list[Tensor]:
    return [v / v.norm(dim=0) for v in images]


def by_hand(graph: RegionGraph, images: list[Tensor]) -> list[Tensor]:
    """Return the graph's regions of images ``[R_i, D]``, which never meet."""
    images = over_regions(images) if graph.before else images
    for step in graph.steps:
        assert isinstance(step, GraphStep)
        told = [looped(step, v) for v in images]
        batch = torch.cat(told)
        images = [v + normed(step, y, batch) for v, y in zip(images, told, strict=True)]
    return over_regions(images)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_four_steps_are_the_plain_loops(before: bool, training: bool) -> None:
    graph = stirred(RegionGraph(6, before=before)).train(training)
    v = torch.randn(3, 4, 6, dtype=torch.float64)
    expected = torch.stack(by_hand(graph, list(v)))
    torch.testing.assert_close(graph(v, v), expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_a_mask_leaves_what_the_real_regions_alone_give(before: bool, training: bool) -> None:
    graph = stirred(RegionGraph(6, before=before)).train(training)
    v, lens = torch.randn(3, 5, 6, dtype=torch.float64), [5, 2, 1]
    mask = torch.arange(5) < torch.tensor(lens)[:, None]
    expected = by_hand(graph, [one[:n] for one, n in zip(v, lens, strict=True)])
    for row, one, n in zip(graph(v, v, mask), expected, lens, strict=True):
        torch.testing.assert_close(row[:n], one)
        assert torch.equal(row[n:], torch.zeros(5 - n, 6).double())


def test_a_mask_of_real_regions_alone_changes_nothing() -> None:
    graph = stirred(RegionGraph(6)).eval()
    v = torch.randn(2, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(graph(v, v, torch.ones(2, 4, dtype=torch.bool)), graph(v, v))


def test_it_starts_as_the_identity_over_normalised_channels() -> None:
    v = torch.randn(2, 4, 6)
    torch.testing.assert_close(RegionGraph(6)(v, v), v / v.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["graph", "graph_coco"])
def test_the_encoder_hides_padding_from_the_graph_where_it_is_asked_to(
    kind: str, masked: bool
) -> None:
    settings = EncoderSettings(
        embedding=8, region_encoder=kind, mask_regions=masked, normalise_regions=False
    )
    encoder = RegionEncoder(6, settings, 5).eval()
    for p in encoder.parameters():  # the bias makes padding more than zeros
        nn.init.normal_(p, std=0.4)
    x, lens = torch.randn(2, 3, 6), torch.tensor([3, 2])
    padded = torch.cat([x, torch.zeros(2, 2, 6)], 1)
    apart = (encoder(x, lens).vectors - encoder(padded, lens).vectors[:, :3]).abs().max()
    assert (apart < 1e-5) == masked


def test_regions_of_zeros_stay_finite() -> None:
    zeros = torch.zeros(2, 3, 4, requires_grad=True)
    out = RegionGraph(4, before=True)(zeros, zeros)
    out.sum().backward()
    assert torch.equal(out, torch.zeros(2, 3, 4))
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


@pytest.mark.parametrize("name", ["vsrn_f30k", "vsrn_coco"])
def test_the_regions_are_the_authors(name: str) -> None:
    found = {d.name: d for d in compare_file(GOLDEN / f"{name}.npz").differences}
    assert found["gcn_emb"].passed
