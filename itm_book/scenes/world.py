"""Scenes: what is in a picture. Objects with attributes, where they are, and what relates them.

Everything here is integer arithmetic on raw 64-bit draws, so that a seed means the same scenes on
every machine and every version of NumPy.

Page: The Scenes data card.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

SIDE = 112  # width and height of a picture in pixels
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
FEWEST, MOST = 3, 8  # objects in a scene
TURNS = 5  # an object is turned by one of so many angles
_RADIUS = {"small": 8, "medium": 12, "big": 16}
_FAMILY = 8  # of so many neighbouring scenes, the first two pairs are siblings

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
        """An integer from 0 to limit - 1."""
        return (int(self._bits.random_raw()) >> 32) * limit >> 32

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both possible."""
        return low + self.below(high - low + 1)

    def percent(self, chance: int) -> bool:
        """True in so many cases of a hundred."""
        return self.below(100) < chance

    def choose(self, items: Sequence[Item]) -> Item:
        """One of the items, each as likely as the others."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in random order (Fisher and Yates)."""
        out = list(items)
        for last in range(len(out) - 1, 0, -1):
            other = self.below(last + 1)
            out[last], out[other] = out[other], out[last]
        return out

    def grid(self, limit: int, shape: tuple[int, ...]) -> np.ndarray:
        """An int64 array of integers from 0 to limit - 1."""
        raw = self._bits.random_raw(int(np.prod(shape))) >> np.uint64(32)
        return ((raw * np.uint64(limit)) >> np.uint64(32)).astype(np.int64).reshape(shape)

    def bell(self, shape: tuple[int, ...]) -> np.ndarray:
        """An int64 array of sums of four bytes about 0: nearly normal, standard deviation 148."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw((count + 1) // 2).astype("<u8").view(np.uint8)
        sums = raw.reshape(-1, 4).sum(axis=1, dtype=np.int64) - 510
        return sums[:count].reshape(shape)


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object: four attributes, and where it stands (centre and radius in pixels)."""

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
    """A ground and the objects on it, from the back to the front (drawing order)."""

    ground: str
    objects: tuple[SceneObject, ...]


def scene(seed: int, split: int, index: int) -> Scene:
    """The scene at a place of a split.

    Of every eight neighbours, 1 is 0 with the colours dealt anew (same words, other bindings), and
    3 is 2 turned about the middle of the picture (same objects, other relations).
    """
    place = index % _FAMILY
    if place == 1:
        return _colours_passed_on(scene(seed, split, index - 1))
    if place == 3:
        return _turned_about(scene(seed, split, index - 1))
    return _sample(Draws(seed, split, index, 0))


def _colours_passed_on(original: Scene) -> Scene:
    """The scene in which every object has the colour of the one before it."""
    objects = original.objects
    colours = [objects[number - 1].colour for number in range(len(objects))]
    return replace(
        original,
        objects=tuple(replace(o, colour=c) for o, c in zip(objects, colours, strict=True)),
    )


def _turned_about(original: Scene) -> Scene:
    """The scene with every position reflected in the middle: left is right, above is below."""
    objects = (replace(o, x=SIDE - o.x, y=SIDE - o.y) for o in original.objects)
    return replace(original, objects=tuple(objects))


def _sample(draws: Draws) -> Scene:
    """A new scene: kinds of objects first, then a place for each."""
    ground = draws.choose(GROUNDS)
    while True:
        kinds = _kinds(draws, draws.between(FEWEST, MOST))
        placed = _placed(draws, kinds)
        if placed is not None:
            return Scene(ground=ground, objects=placed)


def _kinds(draws: Draws, count: int) -> list[tuple[str, str, str, str]]:
    """Shape, colour, size and texture of each object, with distractors among them.

    A distractor has the shape of one object and the colour of another, or all of one but its size
    and texture, so that no single word tells it from its models.
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
    """The objects at places where each is mostly visible, or None when they do not fit.

    In half of the scenes the last object is put partly over, and so in front of, an earlier one.
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
                turn=draws.below(TURNS),
            )
        )
    return tuple(objects)


def _spot(
    draws: Draws, objects: Sequence[SceneObject], radius: int, over: SceneObject | None
) -> tuple[int, int] | None:
    """A centre that keeps its distance from all objects but the one to be partly covered."""
    low, high = radius + 2, SIDE - radius - 2
    for _ in range(60):
        if over is None:
            x, y = draws.between(low, high), draws.between(low, high)
        else:
            reach = max(radius, over.radius) + min(radius, over.radius) * 4 // 10
            right, down = draws.choose(_DIRECTIONS)
            x, y = over.x + (right * reach >> 10), over.y + (down * reach >> 10)
        inside = low <= x <= high and low <= y <= high
        if inside and all(_apart(o, x, y, radius) for o in objects if o is not over):
            return x, y
    return None


def _apart(other: SceneObject, x: int, y: int, radius: int) -> bool:
    """Whether a circle at (x, y) stays clear of the object."""
    distance = (other.x - x) ** 2 + (other.y - y) ** 2
    return distance >= (other.radius + radius + 1) ** 2


@dataclass(frozen=True, kw_only=True)
class Relations:
    """What relates the n objects of a scene, or of I scenes padded to n: leading axes are free.

    places: name -> [..., n] bool; pairs: name -> [..., n, n] bool, first axis the subject
    ('subject is left of other'); between: [..., n, n, n] bool, subject first.
    """

    places: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray]
    between: np.ndarray


def relations(x: np.ndarray, y: np.ndarray, radius: np.ndarray, front: np.ndarray) -> Relations:
    """The relations that hold among objects with these centres and radii [..., n].

    front [..., n, n] says that the first object covers part of the second. Captions are written
    from this table and the oracle reads them with it, so 'true in the picture' has one meaning.
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
    """[..., a, b, c]: a lies near the middle of the way from b to c, within 10 pixels of it."""
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
