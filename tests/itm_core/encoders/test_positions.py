"""PFAN's block positions: hand-worked boxes, plain loops, and the authors' numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from itm_book.parity.format import read
from itm_book.parity.models import check_pfan
from itm_book.reference import pfan_features
from itm_book.reference.pfan import positions
from itm_core.data.dataset import Split
from itm_core.encoders.positions import (
    POSITION_RULES,
    BlockPositions,
    block_positions,
    with_positions,
)
from itm_core.errors import InputError
from tests.places import GOLDEN


@pytest.mark.parametrize(
    ("box", "blocks", "weights"),
    [
        ([0, 0, 10, 20], [0], [1]),  # exactly the first block
        ([15, 10, 25, 30], [16, 17, 32, 33], [0.25] * 4),  # a quarter of each of four blocks
        ([0, 0, 15, 20], [0, 16], [2 / 3, 1 / 3]),  # to the right is 16 further
        ([0, 0, 10, 30], [0, 1], [2 / 3, 1 / 3]),  # below is the next
        ([5, 300, 10, 320], [15], [1]),  # the last row of the first column
        ([150, 300, 160, 320], [255], [1]),
        ([-40, -40, 10, 20], [0], [1]),  # what lies outside the picture doesn't count
    ],
)
def test_hand_worked_boxes(box: list[float], blocks: list[int], weights: list[float]) -> None:
    found = block_positions(np.array([box]), 160, 320)[0]
    missing = 15 - len(blocks)
    assert found[:15].tolist() == blocks + [256] * missing
    assert found[15:] == pytest.approx(weights + [0] * missing)


@pytest.mark.parametrize(("width", "height"), [(500, 333), (375, 500), (333.3, 77)])
def test_blocks_covered_wholly_are_ties_and_the_first_ones_stay(
    width: float, height: float
) -> None:
    found = block_positions(np.array([[0, 0, width, height]]), width, height)[0]
    assert found[:15].tolist() == list(range(15))
    assert found[15:] == pytest.approx([1 / 15] * 15)


@pytest.mark.parametrize("box", [[200, 0, 300, 10], [5, 5, 5, 9]])
def test_a_box_that_covers_nothing_has_no_position(box: list[float]) -> None:
    found = block_positions(np.array([box]), 160, 320)[0]
    assert found.tolist() == [256] * 15 + [0] * 15


corner = st.floats(-20, 420, allow_nan=False)


@settings(deadline=None, max_examples=40)
@given(corner, corner, corner, corner, st.integers(20, 400), st.integers(20, 400))
def test_any_box_is_placed_as_block_by_block(
    x1: float, y1: float, x2: float, y2: float, width: int, height: int
) -> None:
    box = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
    inside = np.clip(box, 0, [width, height] * 2)
    sides = box[2] - box[0], box[3] - box[1], *(inside[2:] - inside[:2])
    if any(0 < side < 0.5 for side in sides):
        return  # slivers so thin that only rounding orders their blocks
    blocks, weights = positions(box, width, height)
    found = block_positions(np.array([box]), width, height)[0]
    assert found[15:] == pytest.approx(weights, abs=1e-6)
    # near ties may stand the other way round: each block kept must weigh what it should
    expected = dict(zip(blocks, weights, strict=True))
    for block, weight in zip(found[:15].tolist(), found[15:].tolist(), strict=True):
        assert expected.get(int(block), min(weights)) == pytest.approx(weight, abs=1e-6)


def test_images_of_different_sizes_are_placed_at_once() -> None:
    boxes = np.random.default_rng(0).uniform(0, 90, (2, 3, 2, 2))
    boxes = np.sort(boxes, 2).reshape(2, 3, 4)
    widths, heights = np.array([100, 60]), np.array([90, 200])
    found = block_positions(boxes, widths, heights)
    assert found.shape == (2, 3, 30)
    for i in range(2):
        assert (found[i] == block_positions(boxes[i], widths[i], heights[i])).all()


def small(rule: str) -> tuple[BlockPositions, Tensor, dict[str, Tensor]]:
    """Return a module in double precision, features with small and large regions, its weights."""
    torch.manual_seed(0)
    module = BlockPositions(6, rule).double()
    boxes = np.array([[[0, 0, 10, 20], [15, 10, 25, 30]], [[0, 0, 160, 320], [3, 7, 90, 66]]])
    features = torch.cat(
        [
            torch.randn(2, 2, 6, dtype=torch.float64) / 8,
            torch.from_numpy(block_positions(boxes, 160, 320)).double(),
        ],
        -1,
    )
    weights = {
        "img_enc.position_embedding.weight": module.table.weight.detach(),
        "img_enc.fc_att.weight": module.query.weight.detach(),
        "img_enc.fc_att.bias": module.query.bias.detach(),
    }
    return module, features, weights


@pytest.mark.parametrize("rule", POSITION_RULES)
def test_both_rules_agree_with_a_loop_over_the_regions(rule: str) -> None:
    module, features, weights = small(rule)
    expected = pfan_features(features[..., :6], features[..., 6:], weights, rule=rule)
    found = module(features)
    assert found.shape == (2, 2, module.joined_width) == (2, 2, 206)
    assert (found - expected).abs().max() < 1e-12


def gamma(module: BlockPositions, features: Tensor) -> Tensor:
    return module.weigh(*features.split([6, 15, 15], -1))[0].detach()


def test_padding_has_no_weight_by_the_paper_and_nearly_its_share_by_the_release() -> None:
    module, features, _ = small("paper")
    padding = features[..., 6:21] == 256
    of_paper = gamma(module, features)
    assert (of_paper.sum(-1) - 1).abs().max() < 1e-12
    assert (of_paper[padding] == 0).all()
    module.rule = "released"
    released = gamma(module, features)
    assert (released.sum(-1) - 1).abs().max() < 1e-12
    assert padding[0, 0].sum() == 14
    assert released[0, 0][padding[0, 0]].sum().item() == pytest.approx(14 / 15, abs=0.02)
    spread = released[1].amax(-1) - released[1].amin(-1)
    assert spread.max() < 0.01
    assert (of_paper[1].amax(-1) - of_paper[1].amin(-1)).max() > 5 * spread.max()


@pytest.mark.parametrize(("rule", "trained"), [("paper", False), ("released", True)])
def test_the_row_of_the_padding_is_trained_by_the_release(rule: str, trained: bool) -> None:
    module, features, _ = small(rule)
    module(features)[..., 6:].square().sum().backward()
    assert module.table.weight.grad is not None
    # by the paper's rule padding only lowers the softmax, which dividing by the sum undoes
    assert (module.table.weight.grad[256].abs().max() > 1e-6) == trained


def test_a_region_outside_the_picture_stays_finite() -> None:
    module, features, _ = small("paper")
    features[0, 0, 6:] = torch.tensor([256.0] * 15 + [0.0] * 15)
    joined = module(features)
    joined.sum().backward()
    assert (joined[0, 0, 6:] == 0).all()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize(("width", "rule"), [(6, "printed"), (-10, "paper"), (0, "released")])
def test_a_rule_or_features_that_do_not_fit_are_bad_input(width: int, rule: str) -> None:
    with pytest.raises(InputError, match="expected"):
        BlockPositions(width, rule)


class OnDisk:
    """Features that remember what was read of them."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.read = values, values.shape, []

    def __getitem__(self, index: Any) -> np.ndarray:
        self.read.append(index)
        return self.values[index]


def split_of(regions: Any, boxes: np.ndarray | None, sizes: np.ndarray | None) -> Split:
    return Split(Path("data/f30k"), "dev", regions, [], [], np.zeros(0, int), boxes, sizes)


def test_features_are_joined_as_they_are_read() -> None:
    draws = np.random.default_rng(0)
    regions = OnDisk(draws.standard_normal((4, 3, 5)).astype(np.float16))
    boxes = np.sort(draws.uniform(0, 60, (4, 3, 2, 2)), 2).reshape(4, 3, 4)
    sizes = np.array([[60, 60], [80, 70], [64, 100], [99, 61]])
    joined = with_positions(split_of(regions, boxes, sizes))
    assert joined.shape == (4, 3, 35)
    assert len(joined) == 4
    assert regions.read == []
    every = np.stack(
        [
            np.concatenate(
                [regions.values[i], block_positions(boxes[i], *sizes[i].tolist())], -1
            ).astype(np.float32)
            for i in range(4)
        ]
    )
    for index in (2, -1, np.int64(0), slice(1, 3), slice(None), np.array([3, 0, 0]), [1, 2]):
        found = joined[index]
        assert found.dtype == np.float32
        assert (found == every[index]).all()
    assert regions.read[0] == 2


@pytest.mark.parametrize("missing", ["boxes", "img_sizes"])
def test_a_split_without_boxes_says_which_file_is_missing(missing: str) -> None:
    boxes = None if missing == "boxes" else np.zeros((1, 2, 4))
    sizes = None if missing == "img_sizes" else np.ones((1, 2))
    with pytest.raises(InputError, match=f"dev_{missing}.npy") as caught:
        with_positions(split_of(np.zeros((1, 2, 5), np.float32), boxes, sizes))
    assert caught.value.remedy


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("pfan_*.npz")), ids=lambda p: p.stem)
def test_pfan_agrees_with_the_authors(path: Path) -> None:
    stored = read(path)
    differences = list(check_pfan(stored))
    assert {d.name for d in differences} == set(stored.folder("outputs"))
    assert [d for d in differences if not d.passed] == []


def test_an_option_that_pfan_lacks_is_bad_input() -> None:
    stored = read(GOLDEN / "pfan_t2i_mean.npz")
    del stored.config["vocab_size"]
    with pytest.raises(InputError, match="vocab_size"):
        list(check_pfan(stored))
