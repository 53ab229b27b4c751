"""Pictures as data URIs, which explorers and pages of results have in themselves.

Page: "First match"; "Your pictures".
"""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from PIL import Image

LONGEST_SIDE = 480  # pixels of an embedded picture
DRAWN_SIDE = 160  # up to here lossless: JPEG artefacts are visible when enlarged
THUMBNAIL_SIDE = 240  # of small pictures, where a page has many


def embedded(picture: np.ndarray, *, small: bool = False) -> tuple[str, tuple[int, int]]:
    """Return a picture ``[H, W, 3]`` uint8 as a data URI, and its width and height there.

    The longer side is at most `LONGEST_SIDE`, or `THUMBNAIL_SIDE` for ``small``.
    """
    shown = Image.fromarray(np.ascontiguousarray(picture))
    kind = "webp" if small else "png" if max(shown.size) <= DRAWN_SIDE else "jpeg"
    side = THUMBNAIL_SIDE if small else LONGEST_SIDE
    shown.thumbnail((side, side))
    with BytesIO() as file:
        if kind == "png":
            shown.save(file, kind, optimize=True)
        else:
            shown.save(file, kind, quality=85)
        text = base64.b64encode(file.getvalue()).decode()
    return f"data:image/{kind};base64,{text}", shown.size
