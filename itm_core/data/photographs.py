"""Photographs: opened safely, converted to RGB arrays.

Page: "Your pictures", "The data".
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from itm_core.errors import InputError

WHITE = (255, 255, 255)


class PhotographError(InputError):
    """One photograph that cannot be read; the others may be fine."""


def read_photograph(path: Path) -> np.ndarray:
    """Return a photograph ``[H, W, 3]`` uint8, rotated as its EXIF orientation says.

    Grey, CMYK and palette images become RGB, transparency becomes white, 16 bits become 8.
    Raises `PhotographError` for a file that is no picture, is truncated, or has more pixels than
    Pillow's limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return np.asarray(_rgb(ImageOps.exif_transpose(image)))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        remedy = "make it smaller if you trust it; such files are used to exhaust memory"
        raise PhotographError(
            "too many pixels", file=path, found=str(error), remedy=remedy
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError) as error:
        raise PhotographError(
            "not readable as a picture",
            file=path,
            found=str(error),
            remedy="copy the file again, or leave it out: --skip-damaged",
        ) from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip at 255
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode == "F":
        raise ValueError("pixels are not integers")
    if "A" in image.getbands() or "transparency" in image.info:
        foreground = image.convert("RGBA")
        background = Image.new("RGBA", foreground.size, (*WHITE, 255))
        return Image.alpha_composite(background, foreground).convert("RGB")
    return image.convert("RGB")
