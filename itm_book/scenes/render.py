"""Rendering of Scenes: anti-aliased shapes with textures, shading and shadows on a ground.

Shapes are rasterised at four times the resolution with integer tests and averaged. Rasterised
objects are cached by shape, radius, angle and texture; an image takes about two milliseconds.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from itm_book.scenes.grounds import ground_pixels
from itm_book.scenes.world import SIDE, Draws, Scene, SceneObject

_FINE = 4  # sub-pixels along each side of a pixel
_FULL = _FINE * _FINE
_UNIT = 1024  # the radius of an object in shape coordinates
_MARGIN = 2  # pixels around an object's circle
_SHADOW = 2  # pixels that a shadow falls to the right and down

# Main colour and the accent of its texture.
_PAINT = {
    "red": ((206, 38, 44), (250, 168, 160)),
    "orange": ((240, 128, 22), (255, 212, 150)),
    "yellow": ((246, 208, 40), (158, 118, 8)),
    "green": ((44, 150, 62), (176, 226, 160)),
    "turquoise": ((30, 180, 176), (8, 96, 104)),
    "blue": ((40, 84, 204), (158, 190, 250)),
    "purple": ((124, 50, 168), (212, 172, 238)),
    "pink": ((246, 136, 182), (176, 44, 110)),
    "white": ((248, 248, 244), (166, 170, 178)),
    "black": ((34, 34, 40), (128, 130, 138)),
}
# Cosine and sine times 1024 of -20, -10, 0, 10, 20 degrees.
_TURN = ((962, -350), (1008, -178), (1024, 0), (1008, 178), (962, 350))
_POLYGONS = {
    "box": ((-820, -820), (820, -820), (820, 820), (-820, 820)),
    "triangle": ((0, -960), (930, 760), (-930, 760)),
    "diamond": ((0, -1010), (700, 0), (0, 1010), (-700, 0)),
    "hexagon": ((-500, -866), (500, -866), (1000, 0), (500, 866), (-500, 866), (-1000, 0)),
    "cross": (
        (-330, -980),
        (330, -980),
        (330, -330),
        (980, -330),
        (980, 330),
        (330, 330),
        (330, 980),
        (-330, 980),
        (-330, 330),
        (-980, 330),
        (-980, -330),
        (-330, -330),
    ),
    "star": (
        (0, -1024),
        (253, -348),
        (974, -316),
        (409, 133),
        (602, 828),
        (0, 430),
        (-602, 828),
        (-409, 133),
        (-974, -316),
        (-253, -348),
    ),
    "heart-point": ((-930, -90), (930, -90), (0, 960)),
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A rendered scene.

    Attributes:
        pixels: ``[H, W, 3]`` uint8.
        boxes: ``[n, 4]`` x1, y1, x2, y2 around all pixels of each object, covered ones included.
        front: ``[n, n]`` bool: the first object covers at least a twentieth of the second.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    front: np.ndarray


def render(scene: Scene, draws: Draws) -> Picture:
    """Return the image of a scene; ``draws`` supplies the noise of the ground."""
    canvas = ground_pixels(scene.ground, draws)
    masks = np.zeros((len(scene.objects), SIDE, SIDE), dtype=np.int64)
    for number, thing in enumerate(scene.objects):
        _draw(canvas, masks[number], thing)
    return Picture(pixels=canvas.astype(np.uint8), boxes=_boxes(masks), front=_front(masks))


def _draw(canvas: np.ndarray, mask: np.ndarray, thing: SceneObject) -> None:
    """Draw the object and its shadow on the canvas, and its coverage (0 to 16) in the mask."""
    cover, accent, shade = _stencil(thing.shape, thing.radius, thing.turn, thing.texture)
    reach = thing.radius + _MARGIN
    top, left = thing.y - reach, thing.x - reach
    rows, columns = slice(top, top + 2 * reach), slice(left, left + 2 * reach)
    mask[rows, columns] = cover
    _shade_ground(canvas, cover, top + _SHADOW, left + _SHADOW)
    main, other = (np.array(paint, dtype=np.int64) for paint in _PAINT[thing.colour])
    colour = (main * (_FULL - accent[..., None]) + other * accent[..., None]) // _FULL
    colour = np.clip(colour * shade[..., None] // 256, 0, 255)
    under = canvas[rows, columns]
    weight = cover[..., None]
    canvas[rows, columns] = (colour * weight + under * (_FULL - weight) + _FULL // 2) // _FULL


def _shade_ground(canvas: np.ndarray, cover: np.ndarray, top: int, left: int) -> None:
    """Darken the canvas by up to a third under the shadow."""
    part = canvas[top : top + len(cover), left : left + len(cover)]
    weight = cover[: part.shape[0], : part.shape[1], None]
    part -= part * weight // (3 * _FULL)


def _boxes(masks: np.ndarray) -> np.ndarray:
    """Return boxes around the pixels that are at least half covered, ``[n, 4]``."""
    solid = np.asarray(2 * masks >= _FULL)
    return np.stack(
        [
            solid.any(axis=1).argmax(axis=1),
            solid.any(axis=2).argmax(axis=1),
            SIDE - np.flip(solid.any(axis=1), 1).argmax(axis=1),
            SIDE - np.flip(solid.any(axis=2), 1).argmax(axis=1),
        ],
        axis=1,
    )


def _front(masks: np.ndarray) -> np.ndarray:
    """Return ``[n, n]`` bool: the first is drawn later and hides 1/20 or more of the second."""
    flat = (2 * masks >= _FULL).reshape(len(masks), -1).astype(np.int64)
    shared = flat @ flat.T
    later = np.tri(len(masks), k=-1, dtype=bool)
    return later & (20 * shared >= flat.sum(axis=1)[None, :])


@cache
def _stencil(
    shape: str, radius: int, turn: int, texture: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coverage and accent (0 to 16) and shade (0 to 256) of the pixels of an object."""
    reach = (radius + _MARGIN) * _FINE
    place = 2 * np.arange(-reach, reach, dtype=np.int64) + 1  # odd: centres of the sub-pixels
    across, down = np.meshgrid(place, place)
    cosine, sine = _TURN[turn]
    u = (across * cosine + down * sine) // (2 * _FINE * radius)
    v = (down * cosine - across * sine) // (2 * _FINE * radius)
    inside = _inside(shape, u, v)
    accent = inside & _accented(texture, u * radius // 64, v * radius // 64)
    cover = _pooled(inside)
    light = 262 - (across + down) * 40 // (2 * _FINE * radius)
    edge = inside & ~_shrunk(inside)
    shade = _pooled(np.where(edge, light * 150 // 256, light)) // _FULL
    return cover, _pooled(accent) * _FULL // np.maximum(cover, 1), shade


def _pooled(fine: np.ndarray) -> np.ndarray:
    """Return the sums over the sub-pixels of each pixel."""
    side = len(fine) // _FINE
    return fine.astype(np.int64).reshape(side, _FINE, side, _FINE).sum(axis=(1, 3))


def _shrunk(inside: np.ndarray) -> np.ndarray:
    """Return the shape eroded by three quarters of a pixel."""
    out = inside.copy()
    for step in (-3, 3):
        out &= np.roll(inside, step, axis=0) & np.roll(inside, step, axis=1)
    return out


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where a shape of radius 1024 covers the points (u right, v down)."""
    if shape == "ball":
        return _disc(u, v, 0, 0, 980)
    if shape == "ring":
        return _disc(u, v, 0, 0, 1000) & ~_disc(u, v, 0, 0, 500)
    if shape == "moon":
        return _disc(u, v, 0, 0, 1010) & ~_disc(u, v, 470, -90, 760)
    if shape == "heart":
        lobes = _disc(u, v, -460, -330, 530) | _disc(u, v, 460, -330, 530)
        return lobes | _polygon(u, v, _POLYGONS["heart-point"])
    return _polygon(u, v, _POLYGONS[shape])


def _disc(u: np.ndarray, v: np.ndarray, right: int, down: int, radius: int) -> np.ndarray:
    return (u - right) ** 2 + (v - down) ** 2 <= radius * radius


def _polygon(u: np.ndarray, v: np.ndarray, corners: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Return which points are inside by the even-odd rule, with rays to the right."""
    inside = np.zeros(u.shape, dtype=bool)
    for (u1, v1), (u2, v2) in zip(corners, corners[1:] + corners[:1], strict=True):
        crosses = (v1 > v) != (v2 > v)
        side = (u - u1) * (v2 - v1) - (v - v1) * (u2 - u1)
        inside ^= crosses & ((side < 0) == (v2 > v1))
    return inside


def _accented(texture: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return where the texture has its accent colour; u and v in 1/16 pixel from the centre."""
    if texture == "striped":
        return (v // 40) % 2 == 0
    if texture == "checked":
        return (u // 60 + v // 60) % 2 == 0
    if texture == "dotted":
        row = v // 80
        return ((u + 40 * (row % 2)) % 80 - 40) ** 2 + (v % 80 - 40) ** 2 <= 26 * 26
    return np.zeros(u.shape, dtype=bool)
