"""Photographs as they lie in a folder: found, opened safely, brought to one form.

Page: "Your pictures", "The data".
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from itm_core.errors import InputError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
WHITE = (255, 255, 255)


class PhotographError(InputError):
    """One photograph that cannot be read; the others may be fine."""


def photographs_in(folder: Path) -> list[Path]:
    """Return the photographs of a folder, sorted by name; folders below it are left alone.

    Raises `InputError` when there are none, or a name that no line of a file could hold.
    """
    if not folder.is_dir():
        raise InputError("no such folder of photographs", file=folder)
    there = [p for p in folder.iterdir() if not p.name.startswith(".")]
    found = [p for p in there if p.suffix.lower() in ENDINGS and p.is_file()]
    if not found:
        below = any(p.is_dir() for p in there)
        raise InputError(
            "no photographs here",
            file=folder,
            expected=", ".join(ENDINGS),
            remedy="name the folder that holds the files itself" if below else None,
        )
    for path in found:
        if path.name != path.name.strip() or not path.name.isprintable():
            raise InputError(
                "a name that cannot be an id", file=repr(str(path)), remedy="rename it"
            )
    return sorted(found, key=lambda path: path.name)


def read_photograph(path: Path) -> np.ndarray:
    """Return a photograph ``[H, W, 3]`` uint8, turned the way that its camera was held.

    Grey, CMYK and palettes become RGB, what shines through is white, 16 bits become 8.
    Raises `PhotographError` for a file that is no picture, is cut off, or unfolds to more than
    Pillow's limit of pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.load()
                turned = ImageOps.exif_transpose(opened)
                return np.asarray(_rgb(turned))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        remedy = "make it smaller if you trust it; such files are used to fill memories"
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
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow alone would cut them off at 255
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert(
            "RGB"
        )
    if image.mode == "F":
        raise ValueError("pixels that are no whole numbers")
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*WHITE, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return image.convert("RGB")


def shrunk(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture ``[H, W, 3]`` uint8 at another size; the same bytes on every machine.

    Pillow computes with whole numbers here, and averages over all pixels when it makes smaller.
    """
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
