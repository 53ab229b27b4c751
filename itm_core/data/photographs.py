"""Photographs of a folder: listed, opened safely, converted to RGB arrays.

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
    """Return the photographs of a folder, sorted by name, without those of subfolders.

    Raises `InputError` when there are none, or for a name that is not a line of text.
    """
    if not folder.is_dir():
        raise InputError("no such folder of photographs", file=folder)
    visible = [p for p in folder.iterdir() if not p.name.startswith(".")]
    photographs = [p for p in visible if p.suffix.lower() in ENDINGS and p.is_file()]
    if not photographs:
        subfolders = any(p.is_dir() for p in visible)
        raise InputError(
            "no photographs here",
            file=folder,
            expected=", ".join(ENDINGS),
            remedy="name the folder that holds the files itself" if subfolders else None,
        )
    for path in photographs:
        if path.name != path.name.strip() or not path.name.isprintable():
            raise InputError(
                "a name that cannot be an id", file=repr(str(path)), remedy="rename it"
            )
    return sorted(photographs, key=lambda path: path.name)


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


def shrunk(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a picture ``[H, W, 3]`` uint8 at another size; the same bytes on every machine.

    Pillow computes with integers here, and averages over all pixels when it reduces the size.
    """
    if picture.shape[:2] == (height, width):
        return picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
