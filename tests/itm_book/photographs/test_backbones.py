"""Backbones: local folders with random weights go in and come out; what is missing is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_book.photographs.backbones import Colour, Pretrained, find_model, open_backbone
from itm_book.photographs.detector import Detector
from itm_book.regions.region_boxes import layout
from itm_core.errors import InputError
from tests.photos import noise, save_model

PICTURE = noise(0, 60, 90)


@pytest.mark.parametrize("kind", ["resnet", "convnext", "vit", "dinov2"])
def test_a_network_in_a_folder_gives_its_last_map(tmp_path: Path, kind: str) -> None:
    backbone = open_backbone(str(save_model(tmp_path / kind, kind)), side=96, device="cpu")
    found = backbone(PICTURE, layout(90, 60))
    assert found.shape == (36, backbone.width) == (36, 16)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    again = open_backbone(str(tmp_path / kind), side=96, device="cpu")
    np.testing.assert_array_equal(again(PICTURE, layout(90, 60)), found)
    assert again.identity == backbone.identity


def test_the_whole_picture_is_the_mean_of_the_librarys_own_map(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = save_model(tmp_path / "m")
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    numbers = json.dumps({"image_mean": mean, "image_std": std})
    (folder / "preprocessor_config.json").write_text(numbers)
    picture = noise(1, 64, 96)  # of a size that is not shrunk
    model = transformers.ResNetModel.from_pretrained(folder).eval()
    pixels = (torch.tensor(picture / 255.0) - torch.tensor(mean)) / torch.tensor(std)
    with torch.no_grad():
        expected = model(pixels.permute(2, 0, 1)[None].float()).last_hidden_state.mean((2, 3))[0]
    backbone = open_backbone(str(folder), side=96, device="cpu")
    found = backbone(picture, np.array([[0, 0, 96, 64]]))[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert backbone.identity["mean"] == mean


def test_patches_lie_where_they_are_in_the_picture(tmp_path: Path) -> None:
    backbone = open_backbone(str(save_model(tmp_path / "v", "vit")), side=64, device="cpu")
    assert isinstance(backbone, Pretrained)
    dark, changed = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    changed[48:, :16] = 255  # the patch at the lower left
    moved = (backbone._map(changed) - backbone._map(dark)).abs().sum(0)
    assert moved.shape == (4, 4)
    assert moved.argmax() == 12


def test_a_classifier_may_serve_and_weights_decide_the_identity(tmp_path: Path) -> None:
    one = open_backbone(str(save_model(tmp_path / "a", "classifier")), side=64, device="cpu")
    two = open_backbone(str(save_model(tmp_path / "b", "classifier", seed=1)), device="cpu")
    assert one.identity["weights"] != two.identity["weights"]
    assert one.made_with["transformers"]


def test_what_is_missing_is_said_with_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such folder.*hf download"):
        find_model(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"the backbone is missing.*hf download"):
        find_model("nobody-has-this/model-of-that-name")
    folder = save_model(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"safetensors: no model in this folder.*hf download"):
        open_backbone(str(folder))


def test_damaged_partial_and_unfit_models_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = save_model(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="weights of this model are incomplete"):
        open_backbone(str(folder), device="cpu")
    (folder / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="the model cannot be loaded"):
        open_backbone(str(folder), device="cpu")
    with pytest.raises(InputError, match=r"this model has no feature map.*found bert"):
        open_backbone(str(save_model(tmp_path / "b", "bert")), device="cpu")
    with pytest.raises(InputError, match="needs three means and deviations"):
        open_backbone(str(_with_numbers(save_model(tmp_path / "n"))), device="cpu")


def _with_numbers(folder: Path) -> Path:
    (folder / "preprocessor_config.json").write_text('{"image_std": [0, 1, 1]}')
    return folder


def test_without_the_library_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_model(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r'needs .*: pip install "itm-core\[photographs\]"'):
        open_backbone(str(folder))
    assert open_backbone("colour").width == Colour().width


def test_a_detectors_surest_boxes_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector(str(save_model(tmp_path / "d", "yolos")), device="cpu")
    assert detector.name.startswith("detector yolos")
    unsure = detector("own", 0, "a", PICTURE)
    assert unsure.shape == (36, 4)

    def found(pixels: torch.Tensor) -> object:
        logits = torch.tensor([[[0.0, 0, 9], [0, 3, 0], [9, 0, 0]]])  # nothing; sure; surer
        boxes = torch.tensor([[[0.5] * 4, [0.5, 0.5, 1, 1], [0.25, 0.5, 0.5, 0.5]]])
        return type("Output", (), {"logits": logits, "pred_boxes": boxes})

    monkeypatch.setattr(detector, "model", found)
    boxes = detector("own", 0, "a", PICTURE)
    assert boxes[:2].tolist() == [[0, 15, 45, 45], [0, 0, 90, 60]]
    np.testing.assert_array_equal(boxes[2:], layout(90, 60)[:34])


def test_another_kind_of_model_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the model cannot be loaded"):
        Detector(str(save_model(tmp_path / "m")), device="cpu")
