"""Photographs: opened safely, converted to RGB arrays.

Page: "Your pictures", "The data".
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from itm_core.errors import InputError

WHITE = (255, 255, 255)
LEAVE_OUT = "Damaged photographs are left out with --skip-damaged"


class PhotographError(InputError):
    """One photograph that cannot be read; the others may be fine."""

    @property
    def reason(self) -> str:
        """Why, without the path of the file."""
        return f"{self.problem}: {self.found}"


def read_photograph(path: Path) -> np.ndarray:
    """Return a photograph ``[H, W, 3]`` uint8, rotated as its EXIF orientation says.

    Grey, CMYK and palette images become RGB, transparency becomes white, 16 bits become 8; of an
    animation the first frame is returned. Raises `PhotographError` for a file that is missing, may
    not be read, is no picture, is truncated, or has more pixels than Pillow's limit.
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
            "too many pixels", file=path, found=str(error), remedy=f"{remedy}. {LEAVE_OUT}"
        ) from None
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise PhotographError(
            "not readable as a picture",
            file=path,
            found=_reason(path, error),
            remedy=f"copy the file again. {LEAVE_OUT}",
        ) from error


def _reason(path: Path, error: Exception) -> str:
    """Return why a file cannot be read, in words that do not contain its path."""
    if path.is_symlink() and not path.exists():
        return "a link to a file that does not exist"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, UnidentifiedImageError):
        return "no picture" if path.stat().st_size else "an empty file"
    return " ".join(str(error).split()) or type(error).__name__


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
