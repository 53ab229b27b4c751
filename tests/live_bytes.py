"""How many bytes the tensors of a device hold, now and at most."""

from __future__ import annotations

import weakref
from collections import Counter
from threading import RLock

import torch
from torch import Tensor


class Memory:
    """Counts the bytes of the tensors that are alive, those of views once: `now`, and the `peak`.

    What one operation takes inside for a moment is not counted.
    """

    def __init__(self) -> None:
        self.now = self.peak = 0
        self._users: Counter[int] = Counter()  # tensors of each storage
        self._lock = RLock()  # batches are built in another thread

    def reset(self) -> None:
        """Forget the peak before now."""
        self.peak = self.now

    def hold(self, tensor: Tensor, storage: torch.UntypedStorage) -> None:
        """Count the storage of a tensor as long as the tensor is alive."""
        key, size = storage._cdata, storage.nbytes()
        with self._lock:
            self._users[key] += 1
            if self._users[key] == 1:
                self.now += size
                self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        with self._lock:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self.now -= size
