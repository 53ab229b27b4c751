"""How features get from the disk to a training step: prefetched in a thread, or kept on the GPU.

A file of 33 GB is read image by image as batches need it, and its pages are released again. The
content of a batch depends on its number alone, never on when it was built. A GPU with enough
memory keeps all features from the start.

Page: "How to use it three ways", "Your own data".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from itm_core.data.arrays import release
from itm_core.environment import free_bytes
from itm_core.errors import InputError
from itm_core.settings import one_of

FEATURE_CACHES = ("auto", "never", "float16")
PREFETCHED = 2  # batches; one is being built while one waits
CACHE_FRACTION = 0.5  # of the free memory of the GPU; the rest is for training
IMAGES_AT_ONCE = 256

T = TypeVar("T")
Result = TypeVar("Result")


def prefetch(
    build: Callable[[T], Result], items: Sequence[T], count: int = PREFETCHED
) -> Generator[Result]:
    """Yield ``build(item)`` of every item in order, the next ones being built in a thread.

    An error of ``build`` is raised in place of its result. Close the iterator to stop before the
    end; items that are not started yet are skipped.

    >>> list(prefetch(str, [1, 2, 3]))
    ['1', '2', '3']
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        for item in items:
            waiting.append(pool.submit(build, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def cache_features(
    features: Any, device: torch.device, kind: str, *, free: int | None = None
) -> Tensor | None:
    """Return all features ``[I, R, F]`` on the device, or None where they stay on the disk.

    Args:
        kind: ``auto`` keeps them in float32 if there is room, which changes no number; ``float16``
            keeps them rounded to half precision; ``never``.
        free: bytes on the device; by default what is free. A CPU keeps none.

    Raises `InputError` for another kind, or when half precision is required and does not fit.
    """
    one_of("feature_cache", kind, FEATURE_CACHES)
    if kind == "never":
        return None
    half = kind == "float16"
    dtype = torch.float16 if half else torch.float32
    needed = prod(features.shape) * dtype.itemsize
    if free is None:
        free = free_bytes(device)
    if needed > CACHE_FRACTION * free:
        if half:
            raise InputError(
                "the features do not fit on the device",
                expected=f"{needed / CACHE_FRACTION / 2**30:.1f} GiB free on a GPU",
                found=f"{free / 2**30:.1f} GiB on {device}",
                remedy="use training.feature_cache=auto, which reads them from the disk",
            )
        return None
    cache = torch.empty(features.shape, dtype=dtype, device=device)
    for start in range(0, len(features), IMAGES_AT_ONCE):
        part = np.array(features[start : start + IMAGES_AT_ONCE], np.float32)
        cache[start : start + IMAGES_AT_ONCE] = torch.from_numpy(part).to(device)
    release(features)
    return cache
