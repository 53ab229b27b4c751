"""Photographs: their file names, and their pixels as RGB arrays, opened safely.

Page: "Your pictures", "From photographs to features".
"""

from __future__ import annotations

import os
import re
import struct
import unicodedata
import warnings
from collections import defaultdict
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from itm_core.data.caption_counts import read_ids
from itm_core.data.names import LONGEST
from itm_core.errors import InputError
from itm_core.files import require_no_device, unique_keys

# of photographs, in lower case; every place that looks for photographs takes them from here
ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png"),
    *(".tif", ".tiff", ".webp", ".bmp", ".gif"),
)
# of photographs in formats that are not read, which is said where some are found
UNREAD = (
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
UNREAD_REASON = "a format that is not read; save it as .jpg"
FORMATS = (  # of Pillow; servers give files in one format the ending of another
    *("JPEG", "PNG", "TIFF", "WEBP", "BMP", "DIB", "GIF"),
    *("AVIF", "JPEG2000", "PPM"),
)
FEATURE_ENDINGS = (".npz", ".npy")  # files of one image, which are named after it
ENDING = re.compile(f"({'|'.join(map(re.escape, ENDINGS + FEATURE_ENDINGS))})$", re.IGNORECASE)
# COCO_val2014_000000058350, coco_train2014_000000058350, flickr30k_000000036979
NUMBERED = re.compile(r"(?:(?:coco_\w+?|flickr30k)_)?0*(\d+)", re.IGNORECASE | re.ASCII)

ORIENTATION = 0x112  # of EXIF: how the camera was held
TAG, UNSIGNED = 12, 3  # of EXIF: bytes of a tag, and the type of numbers of 16 bits
UPRIGHT = {  # orientation: what turns the pixels
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WHITE = (255, 255, 255)
LEAVE_OUT = "Damaged photographs are left out with --skip-damaged"


class PhotographError(InputError):
    """One photograph that cannot be read; the others may be fine."""

    @property
    def reason(self) -> str:
        """Why, without the path of the file."""
        return f"{self.problem}: {self.found}"


def image_key(name: str | int) -> str:
    """Return the key of an image: its name without folder and ending; of a number, its digits.

    Names of digits alone are compared as numbers, with or without the prefix of COCO's files. A
    letter with an accent is one, whether it is written as one character or as two (NFC, NFD). A
    name that is longer than that of a file may be is its own key.

    >>> image_key("val2014/COCO_val2014_000000058350.jpg"), image_key("000000058350.npz")
    ('58350', '58350')
    >>> image_key(58350), image_key("a_1.TIF"), image_key("a_1.jpg.npz")
    ('58350', 'a_1', 'a_1')
    """
    text = _with_slashes(str(name)).rpartition("/")[2].strip()
    if len(text) > LONGEST:  # of no file; its digits would be looked for in quadratic time
        return text
    text = unicodedata.normalize("NFC", text)
    while ENDING.search(text):
        text = ENDING.sub("", text)
    number = NUMBERED.fullmatch(text)
    return number[1] if number else text


def find_photograph(folder: Path, image: str) -> Path | None:
    """Return the photograph of an image of a dataset, None if there is none.

    The file is named ``image``, or ``image`` with an ending, or has its key (see `image_key`); a
    folder in the id is one below ``folder``, or where there is no such folder, ``folder`` itself.
    Raises `InputError` when two files fit (``1.jpg`` and ``1.png``), or a file that has another
    name than the id fits two ids of the dataset (``a/1`` and ``b/1``).

    Args:
        folder: of the photographs, beside the ids of the dataset.
        image: an id.
    """
    found = _named(_path_of(folder, image))
    if found is not None and image not in (found.name, ENDING.sub("", found.name)):
        for other in _same_key(folder, image):
            if _named(_path_of(folder, other)) == found:
                raise InputError(
                    "two images would have one photograph",
                    file=found,
                    found=f"{image} and {other}",
                    remedy="put the photographs into the folders that the ids name",
                )
    return found


def _path_of(folder: Path, image: str) -> Path:
    """Return where the photograph of an image is, without an ending."""
    path = folder / _with_slashes(image)
    return path if path.parent.is_dir() else folder / path.name


def _with_slashes(image: str) -> str:
    return image.replace("\\", "/")


def _named(path: Path) -> Path | None:
    """Return the photograph with the name of a path, or with its key, in the folder of the path."""
    place, image = path.parent, path.name
    if path.is_file():
        return path
    if not place.is_dir():
        return None
    names = _names_by_key(place.resolve(), place.stat().st_mtime_ns).get(image_key(image), [])
    exact = [name for name in names if ENDING.sub("", name) == image]
    files = unique_keys(((image, name) for name in exact or names), place)
    return place / files[image] if files else None


def _same_key(folder: Path, image: str) -> list[str]:
    """Return the other ids of the dataset whose key is that of an image."""
    files = ((path, path.stat()) for path in sorted(folder.parent.glob("*_ids.txt")))
    ids = _ids_by_key(tuple((path, state.st_size, state.st_mtime_ns) for path, state in files))
    same = ids.get(image_key(image), ())
    return [other for other in same if _with_slashes(other) != _with_slashes(image)]


@lru_cache(maxsize=2)
def _ids_by_key(files: tuple[tuple[Path, int, int], ...]) -> dict[str, list[str]]:
    """Return the ids of all splits by key; read again when a file (path, size, time) changes."""
    ids: dict[str, list[str]] = defaultdict(list)
    for image in dict.fromkeys(image for path, *_ in files for image in read_ids(path) or ()):
        ids[image_key(image)].append(image)
    return ids


@lru_cache(maxsize=4)
def _names_by_key(folder: Path, changed: int) -> dict[str, list[str]]:
    """Return the names of a folder's photographs by key; read again when the folder changes."""
    names: dict[str, list[str]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
            names[image_key(path.name)].append(path.name)
    return names


def read_photograph(path: Path) -> np.ndarray:
    """Return a photograph ``[H, W, 3]`` uint8, rotated as its EXIF orientation says.

    Grey, CMYK and palette images become RGB, transparency becomes white, 16 bits become 8 (see
    `_rgb`); of an animation the first frame is returned. Raises `PhotographError` for a file that
    is missing, may not be read, is no picture, is truncated, or has more pixels than Pillow's
    limit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            require_no_device(path)
            with Image.open(path, formats=_formats()) as image:
                image.load()
                return np.asarray(_rgb(_upright(image)))
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


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that are opened, whatever the ending of a file is.

    Pillow gives PostScript, a program, to Ghostscript, also where it is inside a file of IPTC.
    """
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(path: Path, error: Exception) -> str:
    """Return why a file cannot be read, in words that do not contain its path."""
    if path.is_symlink() and not path.exists():
        return "a link to a file that does not exist"
    if isinstance(error, InputError):
        return str(error.found)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, UnidentifiedImageError):
        if not path.stat().st_size:
            return "an empty file"
        return UNREAD_REASON if path.suffix.lower() in UNREAD else "no picture"
    return " ".join(str(error).split()) or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    """Return the picture as the camera saw it.

    The orientation alone is read: ``ImageOps.exif_transpose`` also writes the other tags again, and
    fails for those with a wrong type, which cameras and editors leave behind.
    """
    turn = UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> Any:
    """Return the orientation of EXIF; None where it has none.

    Pillow stops reading at the first tag whose value is not in the file. The orientation has its
    value in the tag itself, so it is looked for among all of them.
    """
    found = image.getexif().get(ORIENTATION)
    exif = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if found is not None or order is None:
        return found
    with suppress(struct.error):  # the tags end with the file
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        for place in range(first + 2, first + 2 + TAG * count, TAG):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
            if (tag, kind) == (ORIENTATION, UNSIGNED):
                return value
    return None


def _rgb(image: Image.Image) -> Image.Image:
    """Return 8 bits a channel.

    Of 16 bits the upper 8 are taken. Integers of 32 bits are read as 16 bits where one exceeds
    255, and otherwise as they are; what lies outside 0 to 255 after that is clipped.
    """
    if image.mode.startswith("I"):  # Pillow would clip 16 bits at 255
        values = np.asarray(image)
        if image.mode != "I" or values.max() > 255:
            values = values >> 8
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are not integers")
    if "A" in image.getbands() or "transparency" in image.info:
        foreground = image.convert("RGBA")
        background = Image.new("RGBA", foreground.size, (*WHITE, 255))
        return Image.alpha_composite(background, foreground).convert("RGB")
    return image.convert("RGB")
