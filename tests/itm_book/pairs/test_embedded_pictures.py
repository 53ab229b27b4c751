"""Pictures in pages: small enough, without loss where each pixel is seen."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from itm_book.pairs.embedded_pictures import embedded


@pytest.mark.parametrize(
    ("height", "width", "small", "kind", "size"),
    [
        (160, 80, False, "png", (80, 160)),
        (161, 80, False, "jpeg", (80, 161)),
        (480, 960, False, "jpeg", (480, 240)),
        (480, 960, True, "webp", (240, 120)),
        (80, 160, True, "webp", (160, 80)),
    ],
)
def test_a_picture_is_embedded_within_its_limit(
    height: int, width: int, small: bool, kind: str, size: tuple[int, int]
) -> None:
    picture = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    uri, embedded_size = embedded(picture, small=small)
    start, data = uri.split(",")
    assert start == f"data:image/{kind};base64"
    assert embedded_size == size
    with Image.open(BytesIO(base64.b64decode(data))) as image:
        assert image.size == size
        if kind == "png":
            np.testing.assert_array_equal(np.asarray(image), picture)
