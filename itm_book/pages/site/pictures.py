"""Pictures of the built site: WebP in the place of PNG, loaded when they are scrolled to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

EXACT = 60_000  # bytes; larger pictures may lose what the eye does not see
QUALITY = 88
IMAGE = re.compile(r"<img\b[^>]*>")
SOURCE = re.compile(r'\bsrc="(?:\.\./)*(_images/[^"?#]+)"')
Sizes = Mapping[str, tuple[int, int]]


def shrink_pictures(html: Path) -> dict[str, tuple[int, int]]:
    """Return width and height of each picture in ``_images/``, after making WebP of every PNG.

    The keys are addresses from the site's root, ``_images/name.webp``.
    """
    sizes = {}
    for path in sorted((html / "_images").glob("*")):
        if path.suffix not in {".png", ".jpg", ".jpeg", ".webp"}:
            continue
        with Image.open(path) as picture:
            sizes[f"_images/{path.with_suffix(_ending(path)).name}"] = picture.size
            if path.suffix == ".png":
                path.with_suffix(".webp").write_bytes(_webp(picture))
        if path.suffix == ".png":
            path.unlink()
    return sizes


def _ending(path: Path) -> str:
    return ".webp" if path.suffix == ".png" else path.suffix


def _webp(picture: Image.Image) -> bytes:
    """Return a picture as WebP, exact where that is small enough."""
    shown = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    exact = _saved(shown, lossless=True, quality=50, method=2)
    if len(exact) <= EXACT:
        return exact
    return min(exact, _saved(shown, quality=QUALITY, method=4), key=len)


def _saved(picture: Image.Image, **options: int) -> bytes:
    with BytesIO() as file:
        picture.save(file, "webp", **options)
        return file.getvalue()


def with_pictures(page: str, sizes: Sizes) -> str:
    """Return a page that shows the pictures of `shrink_pictures`, and waits for none of them.

    Each picture has its width and height, so that nothing moves when it arrives.
    """
    return IMAGE.sub(lambda found: _lazy(found[0], sizes), page)


def _lazy(tag: str, sizes: Sizes) -> str:
    found = SOURCE.search(tag)
    if not found:
        return tag
    place = found[1]
    if place.endswith(".png"):
        place = f"{place.removesuffix('.png')}.webp"
        tag = tag.replace(found[1], place)
    extra = ' loading="lazy" decoding="async"'
    if place in sizes and not re.search(r"\b(width|height)=|style=", tag):
        wide, tall = sizes[place]
        extra += f' width="{wide}" height="{tall}"'
    return re.sub(r"\s*/?>$", f"{extra} />", tag)
