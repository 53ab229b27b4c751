"""How features get from the disk to a step: in batches made ahead, or held on the GPU.

A file of 33 GB is read image by image as batches ask for it, in a thread beside the training, and
what was read is given back. What a batch holds depends on its number alone, never on when it was
made. Where a GPU has the room, features are held there from the beginning.

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
from itm_core.errors import InputError
from itm_core.settings import one_of

HOLDING = ("auto", "never", "float16")
MADE_AHEAD = 2  # batches; one is being read while one waits
SHARE_HELD = 0.5  # of what is free on the GPU; the rest is for training
IMAGES_AT_ONCE = 256

T = TypeVar("T")
Made = TypeVar("Made")


def ahead(
    make: Callable[[T], Made], items: Sequence[T], count: int = MADE_AHEAD
) -> Generator[Made]:
    """Yield ``make(item)`` of every item in order, the next ones being made in a thread.

    An error of ``make`` is raised where its result would have come. Close the iterator to stop
    before the end: nothing that was not begun is made then.

    >>> list(ahead(str, [1, 2, 3]))
    ['1', '2', '3']
    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def hold(
    features: Any, device: torch.device, kind: str, *, free: int | None = None
) -> Tensor | None:
    """Return all features ``[I, R, F]`` on the device, or None where they stay on the disk.

    Args:
        kind: ``auto`` holds them in float32 if there is room, which changes no number; ``float16``
            holds them rounded to half precision; ``never``.
        free: bytes on the device; asked of CUDA when not given. A CPU has none to spare.

    Raises `InputError` for another kind, or when half precision is asked for and doesn't fit.
    """
    one_of("held", kind, HOLDING)
    if kind == "never":
        return None
    half = kind == "float16"
    kept = torch.float16 if half else torch.float32
    needed = prod(features.shape) * kept.itemsize
    free = _free(device) if free is None else free
    if needed > SHARE_HELD * free:
        if half:
            raise InputError(
                "the features cannot be held on the device",
                expected=f"{needed / SHARE_HELD / 2**30:.1f} GiB free on a GPU",
                found=f"{free / 2**30:.1f} GiB on {device}",
                remedy="use training.feature_cache=auto, which reads them from the disk",
            )
        return None
    held = torch.empty(features.shape, dtype=kept, device=device)
    for start in range(0, len(features), IMAGES_AT_ONCE):
        part = np.array(features[start : start + IMAGES_AT_ONCE], np.float32)
        held[start : start + IMAGES_AT_ONCE] = torch.from_numpy(part).to(device)
    release(features)
    return held


def _free(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
