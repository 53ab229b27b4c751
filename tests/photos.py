"""Small photographs of every kind, and a pretrained backbone with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def noise(seed: int, height: int = 30, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def write_photographs(folder: Path, count: int = 4) -> Path:
    """Return a folder of ``p0.png``, ``p1.png``, ..., of several sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(noise(k, 30 + k, 40)).save(folder / f"p{k}.png")
    return folder


def write_captions(path: Path, images: list[int], ending: str = "png", captions: int = 5) -> Path:
    numbered = ((i, k) for i in images for k in range(captions))
    lines = [f"p{i}.{ending}#{k}\ta picture {i} says {k}\n" for i, k in numbered]
    path.write_text("".join(lines))
    return path


def write_flickr8k(folder: Path) -> Path:
    """Return a folder as ``itm data get flickr8k`` leaves it: 3, 1 and 2 photographs."""
    pictures, text = folder / "pictures", folder / "text"
    pictures.mkdir(parents=True)
    text.mkdir()
    for k in range(7):  # the last is in no split
        Image.fromarray(noise(k)).save(pictures / f"p{k}.jpg")
    write_captions(text / "Flickr8k.token.txt", [*range(7)], "jpg")
    for name, images in (("train", [4, 0, 2]), ("dev", [1]), ("test", [5, 3])):
        listed = "".join(f"p{k}.jpg\n" for k in images)
        (text / f"Flickr_8k.{name}Images.txt").write_text(listed)
    return folder


def save_model(folder: Path, kind: str = "resnet", seed: int = 0) -> Path:
    """Return the folder of a tiny model with random weights, saved as the library does it."""
    library = pytest.importorskip("transformers")
    import torch

    one: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}
    small: dict[str, Any] = {**one, "intermediate_size": 16, "image_size": 64}
    conv = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    sizes: dict[str, tuple[str, str, dict[str, Any]]] = {
        "resnet": ("ResNetModel", "ResNetConfig", conv),
        "classifier": ("ResNetForImageClassification", "ResNetConfig", conv),
        "convnext": (
            "ConvNextModel",
            "ConvNextConfig",
            {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]},
        ),
        "vit": ("ViTModel", "ViTConfig", small),
        "dinov2": ("Dinov2Model", "Dinov2Config", {**one, "image_size": 56, "patch_size": 14}),
        "bert": ("BertModel", "BertConfig", {**one, "intermediate_size": 16, "vocab_size": 9}),
        "yolos": (
            "YolosForObjectDetection",
            "YolosConfig",
            {**small, "image_size": [64, 64], "num_detection_tokens": 5, "num_labels": 3},
        ),
    }
    model, config, settings = sizes[kind]
    torch.manual_seed(seed)
    getattr(library, model)(getattr(library, config)(**settings)).save_pretrained(folder)
    return folder
