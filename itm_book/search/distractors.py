"""Pictures glued from halves of others: galleries of any size whose features are honest.

A large gallery is made by adding pictures that no caption describes. Random vectors would be too
easy to tell apart, so each distractor is two real pictures of the same kind put side by side: the
regions whose boxes lie in one half of the one, and those in the other half of the other. Every
region is one that a real picture has, next to some that it had there, with as many objects as
usual. How hard they are beside real pictures is measured: `search_curve.share_of_glued`.

Page: "Search at scale".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itm_core.errors import InputError

_GOLDEN, _MIX1, _MIX2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


@dataclass(frozen=True, eq=False)
class SyntheticDistractors:
    """``count`` glued pictures, made when they are asked for; each follows from its place alone.

    Sliced like an array: ``glued[start:stop]`` gives features ``[n, R, F]`` float32.

    Attributes:
        features: ``[I, R, F]`` region features of real pictures.
        boxes: ``[I, R, 4]`` their boxes, or None: every second region of either then.
        count: how many there are.
        seed: another seed glues other pairs.

    Raises `InputError` for fewer than two pictures.
    """

    features: Any
    boxes: np.ndarray | None
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.features) < 2:
            raise InputError("gluing needs pictures", expected="2 or more", found=1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(count, R, F)``."""
        return (self.count, *self.features.shape[1:])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.take(np.arange(self.count)[part])

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the features ``[n, R, F]`` of the pictures at some places."""
        pictures, regions = self.parts(places)
        return np.asarray(self.features[pictures, regions], np.float32)

    def parts(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return for each region of some glued pictures where it is from: picture, region.

        Both are ``[n, R]``.
        """
        total, count = self.features.shape[:2]
        drawn = [_drawn(places, self.seed, k) for k in range(3)]
        one = (drawn[0] % np.uint64(total)).astype(np.int64)
        other = (drawn[1] % np.uint64(total - 1)).astype(np.int64)
        other += other >= one  # never with itself
        depth = self._depth(one, other, (drawn[2] & np.uint64(1)).astype(np.int64))
        kept = np.sort(np.argsort(-depth, axis=1, kind="stable")[:, :count], axis=1)
        return np.where(kept < count, one[:, None], other[:, None]), kept % count

    def _depth(self, one: np.ndarray, other: np.ndarray, axis: np.ndarray) -> np.ndarray:
        """Return how deep each of the 2 R regions lies in the half that is kept, ``[n, 2 R]``."""
        if self.boxes is None:
            count = self.features.shape[1]
            turn = np.arange(2 * count) % 2 == np.arange(2 * count) // count
            return np.broadcast_to(turn.astype(np.float32), (len(one), 2 * count))
        middle = np.asarray(self.boxes[..., :2] + self.boxes[..., 2:], np.float32) / 2  # [I, R, 2]
        low, high = self.boxes[..., :2].min(1), self.boxes[..., 2:].max(1)
        offset = middle - ((low + high) / 2)[:, None]  # from the middle of what is boxed
        rows = axis[:, None]
        first = np.take_along_axis(offset[one], rows[:, None], 2)[..., 0]
        second = np.take_along_axis(offset[other], rows[:, None], 2)[..., 0]
        return np.concatenate([-first, second], axis=1)


@dataclass(frozen=True, eq=False)
class ConcatGallery:
    """The images of an array ``[I, R, F]``, then glued ones; sliced like an array."""

    first: np.ndarray
    second: SyntheticDistractors

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(I, R, F)``."""
        return (len(self), *self.first.shape[1:])

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        edge = len(self.first)
        one = self.first[start : min(stop, edge)]
        other = self.second[max(start - edge, 0) : max(stop - edge, 0)]
        return np.concatenate([np.asarray(one, np.float32), other])

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the features ``[n, R, F]`` of the images at some places."""
        found = np.empty((len(places), *self.shape[1:]), np.float32)
        real = places < len(self.first)
        found[real] = self.first[places[real]]
        found[~real] = self.second.take(places[~real] - len(self.first))
        return found


def _drawn(places: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """Return a number out of 2**64 for each place: splitmix64, so that no order is needed."""
    with np.errstate(over="ignore"):
        state = (places.astype(np.uint64) * np.uint64(4) + np.uint64(stream)) * _GOLDEN
        state += np.uint64(seed) * _MIX1
        state = (state ^ (state >> np.uint64(30))) * _MIX1
        state = (state ^ (state >> np.uint64(27))) * _MIX2
        return state ^ (state >> np.uint64(31))
