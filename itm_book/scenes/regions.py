"""Simulated detector output for Scenes: 36 overlapping boxes, and features of their pixels.

The feature extractor is fixed and uses no labels: colour histogram, silhouette, gradient
histograms and the box coordinates; then a random projection, ReLU, and noise. It uses integer
arithmetic only, so the features are the same bytes on every machine.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

from functools import cache

import numpy as np

from itm_book.scenes.world import SIDE, Draws

REGIONS = 36
WIDTH = 256
CELLS = 4  # gradients are summed over 4 x 4 cells of a box
PATCH = 24  # side to which boxes are resized for colours and silhouette
SILHOUETTE = 8  # cells along the side of a silhouette
UNLIKE = 96  # colour difference (sum of three channels) from the rim that counts as foreground
BINS = 4  # levels of each colour channel in the histogram
DIRECTIONS = 8  # of gradients
SMALLEST = 8  # pixels of a box's side
_WEIGHT = 3  # largest weight of the projection
_SHIFT = 4  # bits by which the projection is scaled down
_SCALE = np.float32(2.0**-9)  # from integers to features
NOISE = 4  # scale of the added noise, in eighths
BLENDED = 15  # percent of the regions whose features are mixed with another's


def boxes(objects: np.ndarray, draws: Draws) -> np.ndarray:
    """Return 36 proposals ``[36, 4]`` int64 (x1, y1, x2, y2) around the objects ``[n, 4]``.

    Several jittered boxes for each object, halves of objects, boxes around two objects,
    background, and the full image, in random order.
    """
    copies = min(4, 24 // len(objects))
    proposals = [_jittered(box, draws) for box in objects for _ in range(copies)]
    proposals += [_half(draws.choose(list(objects)), draws) for _ in range(4)]
    for _ in range(3):
        a, b = draws.shuffled(list(objects))[:2]
        proposals.append(np.concatenate([np.minimum(a, b)[:2], np.maximum(a, b)[2:]]))
    proposals.append(np.array([0, 0, SIDE, SIDE], dtype=np.int64))
    while len(proposals) < REGIONS:
        proposals.append(_random_box(draws))
    return np.stack(draws.shuffled([_clipped(box) for box in proposals[:REGIONS]]))


def _jittered(box: np.ndarray, draws: Draws) -> np.ndarray:
    reach = max(2, int(box[2] - box[0]) // 5)
    return box + draws.grid(2 * reach + 1, (4,)) - reach


def _half(box: np.ndarray, draws: Draws) -> np.ndarray:
    side, out = draws.below(4), box.copy()
    out[side] = (box[side] + box[(side + 2) % 4]) // 2
    return out


def _random_box(draws: Draws) -> np.ndarray:
    width, height = draws.between(12, 60), draws.between(12, 60)
    x, y = draws.below(SIDE - width), draws.below(SIDE - height)
    return np.array([x, y, x + width, y + height], dtype=np.int64)


def _clipped(box: np.ndarray) -> np.ndarray:
    """Return the box clipped to the image, with sides of at least `SMALLEST` pixels."""
    low = np.clip(box[:2], 0, SIDE - SMALLEST)
    high = np.clip(np.maximum(box[2:], low + SMALLEST), SMALLEST, SIDE)
    return np.concatenate([low, high]).astype(np.int64)


def features(pixels: np.ndarray, proposals: np.ndarray, draws: Draws) -> np.ndarray:
    """Return features ``[36, 256]`` float32 of the proposals in an image ``[H, W, 3]`` uint8."""
    raw = _described(pixels.astype(np.int64), proposals)
    raw = _blended(raw, draws)
    projected = (raw.astype(np.int32) @ _projection()) >> _SHIFT
    noise = draws.bell(projected.shape) * NOISE >> 3
    return np.maximum(projected + noise, 0).astype(np.float32) * _SCALE


@cache
def _projection() -> np.ndarray:
    """Return integer weights ``[described, WIDTH]`` of mean zero, so that half pass the ReLU."""
    rows = BINS**3 + SILHOUETTE**2 + CELLS**2 * DIRECTIONS + 15
    return (Draws(2023).grid(2 * _WEIGHT + 1, (rows, WIDTH)) - _WEIGHT).astype(np.int32)


def _blended(raw: np.ndarray, draws: Draws) -> np.ndarray:
    """Mix a quarter of another region's features into some, like overlapping receptive fields."""
    others = raw[draws.grid(len(raw), (len(raw),))]
    mixed = draws.grid(100, (len(raw), 1)) < BLENDED
    return np.where(mixed, (3 * raw + others) >> 2, raw)


def _described(pixels: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """Return the descriptors before the projection, ``[36, described]`` integers, 0 to 1023."""
    patches = _patches(pixels, proposals)
    rim = _rim(patches)
    foreground = (np.abs(patches - rim[:, None, None]).sum(axis=3) > UNLIKE).astype(np.int64)
    cells = _sums(_gradients(pixels) * 5, proposals, CELLS) // _areas(proposals, CELLS)
    sides = np.clip((proposals[:, 2:] - proposals[:, :2]) * 12, 0, 500)
    parts = [
        _histogram(patches, foreground),
        _silhouette(foreground),
        cells.reshape(len(proposals), -1),
        np.tile(sides, (1, 4)),
        proposals * 2,
        rim,
    ]
    return np.clip(np.concatenate(parts, axis=1), 0, 1023)


def _patches(pixels: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """Return the boxes resized by nearest neighbour, ``[36, 24, 24, 3]``."""
    steps = 2 * np.arange(PATCH) + 1
    left, top, right, bottom = (proposals[:, k, None] for k in range(4))
    columns = left + (right - left) * steps // (2 * PATCH)
    rows = top + (bottom - top) * steps // (2 * PATCH)
    return pixels[rows[:, :, None], columns[:, None, :]]


def _rim(patches: np.ndarray) -> np.ndarray:
    """Return the mean colour along the sides of each patch, ``[36, 3]``: the background."""
    sides = [patches[:, 0], patches[:, -1], patches[:, :, 0], patches[:, :, -1]]
    return np.concatenate(sides, axis=1).sum(axis=1) // (4 * PATCH)


def _histogram(patches: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Return the colour histogram of the foreground, ``[36, 64]``; sums to about 800."""
    level = patches // (256 // BINS)
    bin_of = (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]
    flat_bin = bin_of + np.arange(len(patches))[:, None, None] * BINS**3
    counts = np.bincount(flat_bin[foreground > 0], minlength=len(patches) * BINS**3)
    return counts.reshape(len(patches), -1) * 800 // (foreground.sum(axis=(1, 2))[:, None] + 1)


def _silhouette(foreground: np.ndarray) -> np.ndarray:
    """Return the foreground fraction of each of 8 x 8 cells, ``[36, 64]``, 0 to 255."""
    cell = PATCH // SILHOUETTE
    cells = foreground.reshape(-1, SILHOUETTE, cell, SILHOUETTE, cell)
    return cells.sum(axis=(2, 4)).reshape(len(foreground), -1) * 255 // (cell * cell)


def _gradients(pixels: np.ndarray) -> np.ndarray:
    """Return the magnitude of the brightness gradient by direction, ``[H, W, 8]``."""
    grey = pixels.sum(axis=2) // 3
    right, down = np.zeros_like(grey), np.zeros_like(grey)
    right[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    down[1:-1] = grey[2:] - grey[:-2]
    octant = 4 * (down < 0) + 2 * ((right < 0) ^ (down < 0)) + 1 * (np.abs(down) > np.abs(right))
    strength = np.abs(right) + np.abs(down)
    return np.eye(DIRECTIONS, dtype=np.int64)[octant] * strength[..., None]


def _edges(proposals: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns and rows of the cell borders of each box, ``[36, cells + 1]``."""
    parts = np.arange(cells + 1)
    width = (proposals[:, 2] - proposals[:, 0])[:, None]
    height = (proposals[:, 3] - proposals[:, 1])[:, None]
    return proposals[:, :1] + width * parts // cells, proposals[:, 1:2] + height * parts // cells


def _sums(planes: np.ndarray, proposals: np.ndarray, cells: int) -> np.ndarray:
    """Return sums over the cells of each box by an integral image, ``[36, cells**2, planes]``."""
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
