"""Synthetic distractors, composed of halves of real images: galleries of any size.

A large gallery is made by adding images that no caption describes. Random vectors would be too
easy distractors, so each synthetic image combines two real images of the same kind: the regions
whose boxes lie in one half of the first, and those in the other half of the second. Every region
is a real one, together with some of the regions of its image, and the number of objects is as
usual. `search_curve.synthetic_share` measures how hard they are compared with real images.

Page: "Search at scale".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itm_core.data.ragged import region_lens
from itm_core.errors import InputError

_GOLDEN, _MIX1, _MIX2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


@dataclass(frozen=True, eq=False)
class SyntheticDistractors:
    """``count`` synthetic images, computed on access; each depends on its index and the seed only.

    Sliced like an array: ``distractors[start:stop]`` gives features ``[n, R, F]`` float32.

    Attributes:
        features: ``[I, R, F]`` region features of real images.
        boxes: ``[I, R, 4]`` their boxes; None takes every second region of both images.
        count: number of synthetic images.
        seed: another seed combines other pairs.

    Raises `InputError` for fewer than two real images, and for `RaggedRegions`.
    """

    features: Any
    boxes: np.ndarray | None
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        _require_one_count(self.features)
        if len(self.features) < 2:
            raise InputError(
                "synthetic distractors need real images",
                expected="2 or more",
                found=len(self.features),
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(count, R, F)``."""
        return (self.count, *self.features.shape[1:])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.take(np.arange(self.count)[part])

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the features ``[n, R, F]`` of the synthetic images at ``places [n]``."""
        images, regions = self.parts(places)
        return np.asarray(self.features[images, regions], np.float32)

    def parts(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the source of each region of some synthetic images: real image, its region.

        Both are ``[n, R]``.
        """
        total, count = self.features.shape[:2]
        random = [_random_bits(places, self.seed, stream) for stream in range(3)]
        first = (random[0] % np.uint64(total)).astype(np.int64)
        second = (random[1] % np.uint64(total - 1)).astype(np.int64)
        second += second >= first  # never the same image twice
        depth = self._depth(first, second, (random[2] & np.uint64(1)).astype(np.int64))
        chosen = np.sort(np.argsort(-depth, axis=1, kind="stable")[:, :count], axis=1)
        return np.where(chosen < count, first[:, None], second[:, None]), chosen % count

    def _depth(self, first: np.ndarray, second: np.ndarray, axis: np.ndarray) -> np.ndarray:
        """Return the depth of each of the 2 R regions in the half that is used, ``[n, 2 R]``."""
        if self.boxes is None:
            count = self.features.shape[1]
            chosen = np.arange(2 * count) % 2 == np.arange(2 * count) // count
            return np.broadcast_to(chosen.astype(np.float32), (len(first), 2 * count))
        centres = np.asarray(self.boxes[..., :2] + self.boxes[..., 2:], np.float32) / 2  # [I, R, 2]
        low, high = self.boxes[..., :2].min(1), self.boxes[..., 2:].max(1)
        offset = centres - ((low + high) / 2)[:, None]  # from the centre of all boxes
        rows = axis[:, None]
        of_first = np.take_along_axis(offset[first], rows[:, None], 2)[..., 0]
        of_second = np.take_along_axis(offset[second], rows[:, None], 2)[..., 0]
        return np.concatenate([-of_first, of_second], axis=1)


@dataclass(frozen=True, eq=False)
class ConcatGallery:
    """The images of an array ``[I, R, F]``, then synthetic ones; sliced like an array.

    Raises `InputError` for `RaggedRegions`.
    """

    first: np.ndarray
    second: SyntheticDistractors

    def __post_init__(self) -> None:
        _require_one_count(self.first)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(I, R, F)``."""
        return (len(self), *self.first.shape[1:])

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        edge = len(self.first)
        real = self.first[start : min(stop, edge)]
        synthetic = self.second[max(start - edge, 0) : max(stop - edge, 0)]
        return np.concatenate([np.asarray(real, np.float32), synthetic])

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the features ``[n, R, F]`` of the images at ``places [n]``."""
        features = np.empty((len(places), *self.shape[1:]), np.float32)
        real = places < len(self.first)
        features[real] = self.first[places[real]]
        features[~real] = self.second.take(places[~real] - len(self.first))
        return features


def _require_one_count(features: Any) -> None:
    if region_lens(features) is not None:
        raise InputError(
            "synthetic distractors need the same number of regions in every image",
            found="images with different numbers of regions",
            remedy="keep as many of each: itm data convert --regions 36",
        )


def _random_bits(places: np.ndarray, seed: int, stream: int) -> np.ndarray:
    """Return 64 random bits for each place, by splitmix64: independent of the order of access."""
    with np.errstate(over="ignore"):
        state = (places.astype(np.uint64) * np.uint64(4) + np.uint64(stream)) * _GOLDEN
        state += np.uint64(seed) * _MIX1
        state = (state ^ (state >> np.uint64(30))) * _MIX1
        state = (state ^ (state >> np.uint64(27))) * _MIX2
        return state ^ (state >> np.uint64(31))
