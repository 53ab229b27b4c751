"""Content of Scenes: objects with attributes, their positions, and the relations between them.

Only integer arithmetic on raw 64-bit draws is used, so that a seed gives the same scenes on every
machine and every version of NumPy.

Page: "Scenes, the dataset card".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

SIDE = 112  # width and height of an image in pixels
SHAPES = (
    "ball",
    "box",
    "triangle",
    "star",
    "ring",
    "cross",
    "heart",
    "diamond",
    "moon",
    "hexagon",
)
COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "turquoise",
    "blue",
    "purple",
    "pink",
    "white",
    "black",
)
SIZES = ("small", "medium", "big")
TEXTURES = ("plain", "striped", "dotted", "checked")
GROUNDS = (
    "grass",
    "sand",
    "snow",
    "water",
    "brick",
    "wood",
    "stone",
    "carpet",
    "tiles",
    "soil",
)
MIN_OBJECTS, MAX_OBJECTS = 3, 8  # objects in a scene
ANGLES = 5  # number of rotation angles
_RADIUS = {"small": 8, "medium": 12, "big": 16}
_GROUP_SIZE = 8  # consecutive scenes, of which 1 is derived from 0 and 3 from 2

# Unit vectors times 1024 in 16 directions: hard-coded, as libm may differ between machines.
_DIRECTIONS = (
    (1024, 0),
    (946, 392),
    (724, 724),
    (392, 946),
    (0, 1024),
    (-392, 946),
    (-724, 724),
    (-946, 392),
    (-1024, 0),
    (-946, -392),
    (-724, -724),
    (-392, -946),
    (0, -1024),
    (392, -946),
    (724, -724),
    (946, -392),
)

Item = TypeVar("Item")


class Draws:
    """A stream of random integers that is the same on every machine for the same key.

    Only the raw 64-bit output of PCG64 is used: NumPy promises that it never changes, which it
    does not for the methods of ``Generator``.

    >>> Draws(0, 1).below(10) == Draws(0, 1).below(10)
    True
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, limit: int) -> int:
        """Return an integer from 0 to limit - 1."""
        return (int(self._bits.random_raw()) >> 32) * limit >> 32

    def between(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included."""
        return low + self.below(high - low + 1)

    def percent(self, chance: int) -> bool:
        """Return True with a probability of ``chance`` percent."""
        return self.below(100) < chance

    def choose(self, items: Sequence[Item]) -> Item:
        """Return one of the items, uniformly."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """Return the items in random order (Fisher and Yates)."""
        out = list(items)
        for last in range(len(out) - 1, 0, -1):
            other = self.below(last + 1)
            out[last], out[other] = out[other], out[last]
        return out

    def grid(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return an int64 array of integers from 0 to limit - 1."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(32)
        return ((raw * np.uint64(limit)) >> np.uint64(32)).astype(np.int64).reshape(shape)

    def bell(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return int64 sums of four bytes, centred: nearly normal, standard deviation 148."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw((count + 1) // 2).astype("<u8").view(np.uint8)
        sums = raw.reshape(-1, 4).sum(axis=1, dtype=np.int64) - 510
        return sums[:count].reshape(shape)


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object: four attributes, centre and radius in pixels, and an index of its angle."""

    shape: str
    colour: str
    size: str
    texture: str
    x: int
    y: int
    radius: int
    turn: int


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A ground and the objects on it in drawing order, from back to front."""

    ground: str
    objects: tuple[SceneObject, ...]


def scene(seed: int, split: int, index: int) -> Scene:
    """Return the scene with this index in a split.

    Of every eight consecutive scenes, 1 is 0 with the colours permuted (same words, other
    bindings), and 3 is 2 reflected in the centre (same objects, other relations).
    """
    place = index % _GROUP_SIZE
    if place == 1:
        return _with_rotated_colours(scene(seed, split, index - 1))
    if place == 3:
        return _with_reflected_positions(scene(seed, split, index - 1))
    return _sample(Draws(seed, split, index, 0))


def _with_rotated_colours(original: Scene) -> Scene:
    """Return the scene with the colour of every object replaced by that of the previous one."""
    objects = original.objects
    colours = [objects[number - 1].colour for number in range(len(objects))]
    return replace(
        original,
        objects=tuple(replace(o, colour=c) for o, c in zip(objects, colours, strict=True)),
    )


def _with_reflected_positions(original: Scene) -> Scene:
    """Return the scene with all positions reflected in the centre of the image."""
    objects = (replace(o, x=SIDE - o.x, y=SIDE - o.y) for o in original.objects)
    return replace(original, objects=tuple(objects))


def _sample(draws: Draws) -> Scene:
    """Return a random scene: first the attributes of the objects, then their positions."""
    ground = draws.choose(GROUNDS)
    while True:
        kinds = _kinds(draws, draws.between(MIN_OBJECTS, MAX_OBJECTS))
        placed = _placed(draws, kinds)
        if placed is not None:
            return Scene(ground=ground, objects=placed)


def _kinds(draws: Draws, count: int) -> list[tuple[str, str, str, str]]:
    """Return shape, colour, size and texture of each object, distractors included.

    A distractor has the shape of one object and the colour of another, or shape and colour of one
    object, so that no single word distinguishes it.
    """
    kinds = [_kind(draws) for _ in range(2)]
    while len(kinds) < count:
        new = _kind(draws)
        if draws.percent(45):
            first, second = draws.shuffled(kinds)[:2]
            new = (first[0], second[1], new[2], new[3])
        elif draws.percent(15):
            model = draws.choose(kinds)
            new = (model[0], model[1], new[2], new[3])
        kinds.append(new)
    return draws.shuffled(kinds)


def _kind(draws: Draws) -> tuple[str, str, str, str]:
    return (
        draws.choose(SHAPES),
        draws.choose(COLOURS),
        draws.choose(SIZES),
        draws.choose(TEXTURES),
    )


def _placed(
    draws: Draws, kinds: Sequence[tuple[str, str, str, str]]
) -> tuple[SceneObject, ...] | None:
    """Return the objects at positions where each is mostly visible; None when they do not fit.

    In half of the scenes the last object partly covers an earlier one.
    """
    objects: list[SceneObject] = []
    overlap = draws.percent(50)
    for number, (shape, colour, size, texture) in enumerate(kinds):
        radius = _RADIUS[size] + draws.below(2)
        over = draws.choose(objects) if overlap and number == len(kinds) - 1 else None
        spot = _spot(draws, objects, radius, over)
        if spot is None:
            return None
        objects.append(
            SceneObject(
                shape=shape,
                colour=colour,
                size=size,
                texture=texture,
                x=spot[0],
                y=spot[1],
                radius=radius,
                turn=draws.below(ANGLES),
            )
        )
    return tuple(objects)


def _spot(
    draws: Draws, objects: Sequence[SceneObject], radius: int, over: SceneObject | None
) -> tuple[int, int] | None:
    """Return a centre clear of all objects except ``over``, which is partly covered; or None."""
    low, high = radius + 2, SIDE - radius - 2
    for _ in range(60):
        if over is None:
            x, y = draws.between(low, high), draws.between(low, high)
        else:
            reach = max(radius, over.radius) + min(radius, over.radius) * 4 // 10
            right, down = draws.choose(_DIRECTIONS)
            x, y = over.x + (right * reach >> 10), over.y + (down * reach >> 10)
        inside = low <= x <= high and low <= y <= high
        if inside and all(_is_clear_of(o, x, y, radius) for o in objects if o is not over):
            return x, y
    return None


def _is_clear_of(other: SceneObject, x: int, y: int, radius: int) -> bool:
    """Return whether a circle at (x, y) does not touch the object."""
    distance = (other.x - x) ** 2 + (other.y - y) ** 2
    return distance >= (other.radius + radius + 1) ** 2


@dataclass(frozen=True, kw_only=True)
class Relations:
    """Relations between the n objects of one scene, or of scenes padded to n objects.

    Attributes:
        places: ``[..., n]`` bool by name.
        pairs: ``[..., n, n]`` bool by name, the subject first ("subject is left of other").
        between: ``[..., n, n, n]`` bool, the subject first.
    """

    places: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray]
    between: np.ndarray


def relations(x: np.ndarray, y: np.ndarray, radius: np.ndarray, front: np.ndarray) -> Relations:
    """Return the relations between objects with these centres and radii, ``[..., n]``.

    ``front [..., n, n]``: the first object covers part of the second. Captions and the oracle
    use the same relations, so that a caption is true for both or for neither.
    """
    right = x[..., None, :] - x[..., :, None]  # [..., subject, other], > 0: other is to the right
    down = y[..., None, :] - y[..., :, None]
    reach = radius[..., None, :] + radius[..., :, None] + 10
    different = ~np.eye(x.shape[-1], dtype=bool)
    pairs = {
        "left of": (right >= 12) & (np.abs(down) <= right),
        "right of": (-right >= 12) & (np.abs(down) <= -right),
        "above": (down >= 12) & (np.abs(right) <= down),
        "below": (-down >= 12) & (np.abs(right) <= -down),
        "near": (right**2 + down**2 <= reach**2) & different,
        "in front of": front & different,
        "behind": np.swapaxes(front, -1, -2) & different,
    }
    return Relations(places=_places(x, y), pairs=pairs, between=_between(x, y, right, down))


def _places(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    third = SIDE // 3
    low, high = third, SIDE - third
    return {
        "left": x < low,
        "right": x > high,
        "top": y < low,
        "bottom": y > high,
        "middle": (x >= low) & (x <= high) & (y >= low) & (y <= high),
    }


def _between(x: np.ndarray, y: np.ndarray, right: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Return ``[..., a, b, c]``: a is within 10 pixels of the middle half of the line b to c."""
    way_x, way_y = right[..., None, :, :], down[..., None, :, :]  # from b to c
    to_x, to_y = -right[..., :, :, None], -down[..., :, :, None]  # from b to a
    length = way_x**2 + way_y**2
    along = to_x * way_x + to_y * way_y
    aside = to_x * way_y - to_y * way_x
    return (
        (4 * along >= length)
        & (4 * along <= 3 * length)
        & (aside**2 <= 100 * length)
        & (length > 0)
    )
