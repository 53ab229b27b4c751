"""The order of an image's regions carries no meaning: no score depends on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itm_core.encoders.positions import block_positions
from itm_core.experiments import recipes
from itm_core.experiments.methods import METHODS
from itm_core.models import Matcher
from itm_core.models.pairing import AllPairs

IMAGES, REGIONS, FEATURES, WORDS = 3, 6, 7, 20
# As published: VSRN reads the regions with a GRU, SGRAF's image vector has a batch norm for each
# place of a region.
ORDERED = {"vsrn", "saf", "sgr"}


def features(positions: bool) -> Tensor:
    """Regions of three images, two of them duplicates, so that a hard choice between them ties."""
    draw = np.random.default_rng(0)
    plain = draw.normal(size=(IMAGES, REGIONS, FEATURES))
    plain[:, 4] = plain[:, 1]
    if not positions:
        return torch.from_numpy(plain)
    corners = np.sort(draw.uniform(0, 100, (IMAGES, REGIONS, 2, 2)), axis=2)
    boxes = corners.reshape(IMAGES, REGIONS, 4)  # x1, y1, x2, y2
    boxes[:, 4] = boxes[:, 1]
    size = np.full(IMAGES, 100.0)
    return torch.from_numpy(np.concatenate([plain, block_positions(boxes, size, size)], -1))


def built(name: str, wide: int) -> Matcher:
    """A method in float64 whose norms have seen something, as after training."""
    words = ["encoder.text_encoder=gru"] if name == "chan-bert" else []
    small = ["encoder.embedding=8", "encoder.word_width=6", *words]
    torch.manual_seed(1)
    matcher = recipes.get(f"{name}-smoke").replace(*small).build(wide, WORDS, REGIONS).double()
    for part in matcher.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.normal_(part.weight)
    return matcher.eval()


def scores(matcher: Matcher, regions: Tensor) -> Tensor:
    lens = torch.tensor([6, 3, 5, 4])
    tokens = torch.randint(3, WORDS, (4, 6), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        encoded = matcher.regions(regions), matcher.words(tokens, lens)
        return matcher(AllPairs(*encoded))


@pytest.mark.parametrize("name", METHODS)
def test_no_score_depends_on_the_order_of_the_regions(name: str) -> None:
    given = features(recipes.get(f"{name}-smoke").encoder.positions != "none")
    matcher = built(name, given.shape[2])
    first = scores(matcher, given)
    assert first.std() > 1e-6
    moved = []
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)
        order = torch.rand(IMAGES, REGIONS, generator=draw).argsort(1)
        other = given.gather(1, order[..., None].expand_as(given))
        moved.append((scores(matcher, other) - first).abs().max().item())
    if name in ORDERED:
        assert max(moved) > 1e-6
    else:
        assert max(moved) < 1e-9
