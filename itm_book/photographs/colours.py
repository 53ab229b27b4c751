"""Hand-crafted features of a region: colours, edges, position. No learned weights.

They replace a pretrained backbone where none is available, to try the path from photographs to a
search. Features of a region ``[92]``:

* fractions of 28 colours, in the box and in its inner half: 12 hues dark and bright, 4 greys;
* fractions of 8 edge directions in each quarter of the box;
* centre and size of the box.

Pixels are counted in integers before the division, so the result is identical on every machine.
The features do not describe objects: an orange cat and an orange dress are similar.

Page: "Your pictures".
"""

from __future__ import annotations

import numpy as np

from itm_book.regions.picture_files import shrunk

SIDE = 160  # longer side of the resized picture, in pixels
HUES, GREYS, DIRECTIONS = 12, 4, 8
COLOURS = 2 * HUES + GREYS
PALE = 40  # difference of largest and smallest channel below which a colour is grey
WIDTH = 2 * COLOURS + 4 * DIRECTIONS + 4
VERSION = 1  # of this algorithm; part of the identity of features


def describe(picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return features ``[R, 92]`` float32 of boxes ``[R, 4]`` in a picture ``[H, W, 3]`` uint8."""
    height, width = picture.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = shrunk(picture, max(1, round(width * scale)), max(1, round(height * scale)))
    high, wide = small.shape[:2]
    shares = np.asarray(boxes, np.float64) / [width, height, width, height]
    pixels = _integer_boxes(shares * [wide, high, wide, high], wide, high)
    colour = _Sums(np.eye(COLOURS, dtype=np.int32)[colours(small)])
    edges = _Sums(_edges(small))
    parts = [_fractions(colour(box), 0) for box in (pixels, _inner(pixels))]
    parts += [_fractions(edges(box), 64) for box in _quarters(pixels)]
    place = np.concatenate([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]], 1)
    return np.concatenate([*parts, place], 1).astype(np.float32)


def colours(picture: np.ndarray) -> np.ndarray:
    """Return the colour ``[H, W]`` of each pixel, 0 to 27.

    Hue h (0 is red, each 30 degrees wide, centred) is h where dark and 12 + h where bright;
    24 to 27 are the greys from black to white.

    >>> red, navy, white = [250, 10, 10], [10, 10, 90], [250, 250, 250]
    >>> colours(np.array([[red, navy, white]], np.uint8)).tolist()
    [[12, 8, 27]]
    """
    values = picture.astype(np.int64)
    most, least = values.max(-1), values.min(-1)
    chroma = np.maximum(most - least, 1)  # avoids division by zero; such pixels are grey
    red, green, blue = np.moveaxis(values, -1, 0)
    top = values.argmax(-1)
    offset = np.choose(top, [green - blue, blue - red, red - green])  # within a sixth of the circle
    hue = (4 * (2 * top * chroma + offset) + chroma) // (2 * chroma) % HUES
    bright = (most >= 128).astype(np.int64)
    grey = 2 * HUES + most * GREYS // 256
    return np.where(most - least < PALE, grey, hue + HUES * bright)


def _edges(picture: np.ndarray) -> np.ndarray:
    """Return the brightness gradient ``[H, W, 8]`` of each pixel in the plane of its direction."""
    grey = picture.astype(np.int64).sum(-1) // 3
    right, down = np.zeros_like(grey), np.zeros_like(grey)
    right[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    down[1:-1] = grey[2:] - grey[:-2]
    octant = 4 * (down < 0) + 2 * (right < 0) + (np.abs(down) > np.abs(right))
    strength = (np.abs(right) + np.abs(down)).astype(np.int32)
    return np.eye(DIRECTIONS, dtype=np.int32)[octant] * strength[..., None]


class _Sums:
    """Sums of planes ``[H, W, P]`` over boxes of whole pixels, by an integral image."""

    def __init__(self, planes: np.ndarray) -> None:
        high, wide, count = planes.shape
        self.total = np.zeros((high + 1, wide + 1, count), np.int32)
        planes.cumsum(0, dtype=np.int32).cumsum(1, dtype=np.int32, out=self.total[1:, 1:])

    def __call__(self, boxes: np.ndarray) -> np.ndarray:
        left, top, right, bottom = boxes.T
        t = self.total
        return t[bottom, right] - t[top, right] - t[bottom, left] + t[top, left]


def _fractions(counts: np.ndarray, floor: int) -> np.ndarray:
    """Return square roots of fractions ``[R, P]``; ``floor`` damps regions of few counts."""
    total = np.maximum(counts.sum(1, keepdims=True) + floor, 1)
    return np.sqrt(counts / total)


def _integer_boxes(boxes: np.ndarray, wide: int, high: int) -> np.ndarray:
    """Return boxes in whole pixels, inside the picture and never empty."""
    low = np.floor(boxes[:, :2] + 0.5).astype(np.int64).clip(0, [wide - 1, high - 1])
    ends = np.floor(boxes[:, 2:] + 0.5).astype(np.int64).clip(low + 1, [wide, high])
    return np.concatenate([low, ends], 1)


def _inner(boxes: np.ndarray) -> np.ndarray:
    """Return the inner half of each box, along both axes."""
    rim = (boxes[:, 2:] - boxes[:, :2]) // 4
    return np.concatenate([boxes[:, :2] + rim, boxes[:, 2:] - rim], 1)


def _quarters(boxes: np.ndarray) -> list[np.ndarray]:
    left, top, right, bottom = boxes.T
    x, y = (left + right) // 2, (top + bottom) // 2
    corners = ((left, top, x, y), (x, top, right, y), (left, y, x, bottom), (x, y, right, bottom))
    return [np.stack(box, 1) for box in corners]
