"""Scenes: what a detector would hand over. 36 overlapping boxes, and features of their pixels.

The extractor is fixed and never sees a label: colours, their layout, gradients by direction and
cell, and a weak trace of where the box is; then a random projection, ReLU, and noise. All of it
is integer arithmetic, so the features are the same bytes on every machine.

Page: The Scenes data card.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from itm_book.scenes.world import SIDE, Draws

REGIONS = 36
WIDTH = 256
CELLS = 4  # a box is cut into 4 x 4 cells for gradients and colour
PATCH = 24  # side to which a box is brought for its silhouette
SILHOUETTE = 8  # cells along the side of a silhouette
UNLIKE = 96  # difference of colour (sum of three channels) from the rim that stands out
BINS = 4  # levels of each colour channel in the histogram
DIRECTIONS = 8  # of gradients
SMALLEST = 8  # pixels of a box's side
_WEIGHT = 3  # largest weight of the projection
_SHIFT = 4  # bits by which the projection is scaled down
_SCALE = np.float32(2.0**-9)  # from integers to features
NOISE = 4  # eighths of the bell noise that is added
BLENDED = 15  # regions of a hundred whose features are mixed with another's


def boxes(objects: np.ndarray, draws: Draws) -> np.ndarray:
    """Return 36 proposals ``[36, 4]`` int64 (x1, y1, x2, y2) around the objects ``[n, 4]``.

    Several jittered boxes for each object, halves of objects, boxes around two of them,
    background, and the whole picture, in random order.
    """
    each = min(4, 24 // len(objects))
    found = [_jittered(box, draws) for box in objects for _ in range(each)]
    found += [_half(draws.choose(list(objects)), draws) for _ in range(4)]
    for _ in range(3):
        one, two = draws.shuffled(list(objects))[:2]
        found.append(np.concatenate([np.minimum(one, two)[:2], np.maximum(one, two)[2:]]))
    found.append(np.array([0, 0, SIDE, SIDE], dtype=np.int64))
    while len(found) < REGIONS:
        found.append(_anywhere(draws))
    return np.stack(draws.shuffled([_legal(box) for box in found[:REGIONS]]))


def _jittered(box: np.ndarray, draws: Draws) -> np.ndarray:
    reach = max(2, int(box[2] - box[0]) // 5)
    return box + draws.grid(2 * reach + 1, (4,)) - reach


def _half(box: np.ndarray, draws: Draws) -> np.ndarray:
    side, out = draws.below(4), box.copy()
    out[side] = (box[side] + box[(side + 2) % 4]) // 2
    return out


def _anywhere(draws: Draws) -> np.ndarray:
    width, height = draws.between(12, 60), draws.between(12, 60)
    x, y = draws.below(SIDE - width), draws.below(SIDE - height)
    return np.array([x, y, x + width, y + height], dtype=np.int64)


def _legal(box: np.ndarray) -> np.ndarray:
    """The box inside the picture, with sides of some pixels at least."""
    low = np.clip(box[:2], 0, SIDE - SMALLEST)
    high = np.clip(np.maximum(box[2:], low + SMALLEST), SMALLEST, SIDE)
    return np.concatenate([low, high]).astype(np.int64)


def features(pixels: np.ndarray, proposals: np.ndarray, draws: Draws) -> np.ndarray:
    """Return features ``[36, 256]`` float32 of the proposals in a picture ``[H, W, 3]`` uint8."""
    raw = _described(pixels.astype(np.int64), proposals)
    raw = _blended(raw, draws)
    projected = (raw.astype(np.int32) @ _projection()) >> _SHIFT
    noise = draws.bell(projected.shape) * NOISE >> 3
    return np.maximum(projected + noise, 0).astype(np.float32) * _SCALE


@cache
def _projection() -> np.ndarray:
    """``[described, WIDTH]`` whole numbers; columns sum to nearly zero, so half pass the ReLU."""
    rows = BINS**3 + SILHOUETTE**2 + CELLS**2 * DIRECTIONS + 15
    return (Draws(2023).grid(2 * _WEIGHT + 1, (rows, WIDTH)) - _WEIGHT).astype(np.int32)


def _blended(raw: np.ndarray, draws: Draws) -> np.ndarray:
    """Some regions carry a quarter of another's features, as overlapping receptive fields do."""
    others = raw[draws.grid(len(raw), (len(raw),))]
    mixed = draws.grid(100, (len(raw), 1)) < BLENDED
    return np.where(mixed, (3 * raw + others) >> 2, raw)


def _described(pixels: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """``[36, described]`` whole numbers from 0 to 1023."""
    patches = _patches(pixels, proposals)
    rim = _rim(patches)
    shown = (np.abs(patches - rim[:, None, None]).sum(axis=3) > UNLIKE).astype(np.int64)
    cells = _sums(_gradients(pixels) * 5, proposals, CELLS) // _areas(proposals, CELLS)
    sides = np.clip((proposals[:, 2:] - proposals[:, :2]) * 12, 0, 500)
    parts = [
        _histogram(patches, shown),
        _silhouette(shown),
        cells.reshape(len(proposals), -1),
        np.tile(sides, (1, 4)),
        proposals * 2,
        rim,
    ]
    return np.clip(np.concatenate(parts, axis=1), 0, 1023)


def _patches(pixels: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """``[36, 24, 24, 3]`` the boxes, brought to one size by taking the nearest pixels."""
    steps = 2 * np.arange(PATCH) + 1
    left, top, right, bottom = (proposals[:, k, None] for k in range(4))
    columns = left + (right - left) * steps // (2 * PATCH)
    rows = top + (bottom - top) * steps // (2 * PATCH)
    return pixels[rows[:, :, None], columns[:, None, :]]


def _rim(patches: np.ndarray) -> np.ndarray:
    """``[36, 3]`` mean colour along the sides of each patch: what an object stands before."""
    sides = [patches[:, 0], patches[:, -1], patches[:, :, 0], patches[:, :, -1]]
    return np.concatenate(sides, axis=1).sum(axis=1) // (4 * PATCH)


def _histogram(patches: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """``[36, 64]`` colours of what stands in front, as shares of 800."""
    level = patches // (256 // BINS)
    bin_of = (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]
    own = bin_of + np.arange(len(patches))[:, None, None] * BINS**3
    counts = np.bincount(own[shown > 0], minlength=len(patches) * BINS**3)
    return counts.reshape(len(patches), -1) * 800 // (shown.sum(axis=(1, 2))[:, None] + 1)


def _silhouette(shown: np.ndarray) -> np.ndarray:
    """``[36, 64]`` how much of each of 8 x 8 cells stands in front."""
    cell = PATCH // SILHOUETTE
    pooled = shown.reshape(len(shown), SILHOUETTE, cell, SILHOUETTE, cell).sum(axis=(2, 4))
    return pooled.reshape(len(shown), -1) * 255 // (cell * cell)


def _gradients(pixels: np.ndarray) -> np.ndarray:
    """``[H, W, 8]`` strength of the brightness gradient, in the plane of its direction."""
    grey = pixels.sum(axis=2) // 3
    right, down = np.zeros_like(grey), np.zeros_like(grey)
    right[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    down[1:-1] = grey[2:] - grey[:-2]
    octant = 4 * (down < 0) + 2 * ((right < 0) ^ (down < 0)) + 1 * (np.abs(down) > np.abs(right))
    strength = np.abs(right) + np.abs(down)
    return np.eye(DIRECTIONS, dtype=np.int64)[octant] * strength[..., None]


def _edges(proposals: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """``[36, cells + 1]`` columns and rows where the cells of each box begin and end."""
    parts = np.arange(cells + 1)
    width = (proposals[:, 2] - proposals[:, 0])[:, None]
    height = (proposals[:, 3] - proposals[:, 1])[:, None]
    return proposals[:, :1] + width * parts // cells, proposals[:, 1:2] + height * parts // cells


def _sums(planes: np.ndarray, proposals: np.ndarray, cells: int) -> np.ndarray:
    """``[36, cells**2, planes]`` sums over the cells of each box, by an integral image."""
    total = np.zeros((SIDE + 1, SIDE + 1, planes.shape[2]), dtype=np.int32)
    planes.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32, out=total[1:, 1:])
    columns, rows = _edges(proposals, cells)
    corner = total[rows[:, :, None], columns[:, None, :]]  # [36, cells + 1, cells + 1, planes]
    inside = corner[:, 1:, 1:] - corner[:, :-1, 1:] - corner[:, 1:, :-1] + corner[:, :-1, :-1]
    return inside.reshape(len(proposals), cells * cells, -1)


def _areas(proposals: np.ndarray, cells: int) -> np.ndarray:
    columns, rows = _edges(proposals, cells)
    area = np.diff(rows)[:, :, None] * np.diff(columns)[:, None, :]
    return area.reshape(len(proposals), cells * cells, 1)
