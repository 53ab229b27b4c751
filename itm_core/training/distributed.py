"""Data-parallel training: several processes, each with a shard of every batch.

The result is that of one process, up to rounding: every process builds the same batch with the same
random numbers, encodes its shard of images and captions, scores the captions of its shard with all
images, and computes the gradient of its shard of the pairs. Embeddings, scores and gradients are
combined in between, so that hardest negatives are those of the full batch. The first process alone
evaluates and writes.

Processes are started by torchrun, or by `launch` on one machine.

Page: "Batches", "Several GPUs".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.parallel import end_with_parent
from itm_core.training.launch import STORE, TORCHRUN, number_of, started

TIMEOUT = timedelta(hours=12)  # the others wait while the first process evaluates

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one training, see `process_group`.

    All of them must call every method but `shard`, in the same order. In a group of one process
    the collective operations return their argument.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates and writes."""
        return self.rank == 0

    def shard(self, count: int) -> Tensor:
        """Return the indices of this process in a batch of ``count``; there may be none.

        Every size-th, because captions come sorted by length.
        """
        return torch.arange(min(self.rank, count), count, self.size)

    def all_reduce(self, part: Tensor) -> Tensor:
        """Return the sum over processes, computed in place."""
        if self.size > 1:
            distributed.all_reduce(part)
        return part

    def all_reduce_many(
        self, parts: Sequence[Tensor | None], like: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Return the sums over processes of tensors with the shapes of ``like``.

        A tensor may be None in some processes; the sum is None where it is in all of them.
        """
        if self.size == 1:
            return list(parts)
        counts = self.all_reduce(torch.tensor([int(part is not None) for part in parts]))
        return [
            self.all_reduce(torch.zeros_like(shape) if part is None else part.contiguous())
            if count
            else None
            for part, shape, count in zip(parts, like, counts.tolist(), strict=True)
        ]

    def all_gather(self, part: Tensor, count: int, *, dim: int = 0) -> Tensor:
        """Return a tensor of size ``count`` along ``dim`` from the `shard` of each process."""
        if self.size == 1:
            return part
        gathered = part.new_zeros(*part.shape[:dim], count, *part.shape[dim + 1 :])
        gathered.index_copy_(dim, self.shard(count).to(part.device), part)
        return self.all_reduce(gathered)  # the zeros of the other processes change nothing

    def add_gradients(self, module: nn.Module) -> None:
        """Replace the gradient of every parameter by its sum over the processes."""
        parameters = list(module.parameters())
        sums = self.all_reduce_many([parameter.grad for parameter in parameters], parameters)
        for parameter, gradient in zip(parameters, sums, strict=True):
            parameter.grad = gradient

    def any(self, condition: bool) -> bool:
        """Return whether the condition holds in any of the processes."""
        return bool(self.all_reduce(torch.tensor(int(condition))))

    def broadcast(self, value: T) -> T:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]


SINGLE_PROCESS = ProcessGroup()


def row_wise(module: nn.Module) -> bool:
    """Return whether a module computes each row from that row alone, without random numbers.

    A module with dropout, batch statistics or attention over the images of a batch must get the
    full batch in every process.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm) or getattr(part, "over_images", False):
            return False
        rates = (getattr(part, name, 0) for name in ("dropout", "dropout_prob"))
        dropout = part.p if isinstance(part, _DropoutNd) else 0
        if dropout or any(isinstance(rate, float) and rate > 0 for rate in rates):
            return False
    return True


def local_device(name: str) -> str:
    """Return the device of this process: of several GPUs the one with its local rank.

    Raises `InputError` for a GPU that is named, since each process needs its own, and for a GPU of
    another kind than CUDA's.
    """
    if not started() or pick_device(name).type == "cpu":
        return name
    if pick_device(name).type != "cuda":
        raise InputError(
            "several processes train on CUDA's GPUs or on the CPU",
            found=f"device {pick_device(name)}",
            remedy="use --processes 1, or --device cpu",
        )
    if ":" in name:
        raise InputError(
            "each process needs its own GPU",
            found=f"device {name}",
            expected="auto or cuda, or cpu",
        )
    return f"cuda:{number_of('LOCAL_RANK', 0)}"


@contextmanager
def process_group(device: str = "auto") -> Iterator[tuple[ProcessGroup, str]]:
    """Yield the group of this process and its device, as torchrun or `launch` started it.

    NCCL exchanges tensors on GPUs, gloo those on the CPU. The processes of one machine
    communicate through its loopback interface, unless ``GLOO_SOCKET_IFNAME`` or
    ``NCCL_SOCKET_IFNAME`` name another.

    Raises `InputError` for a device that does not exist, and for a wrong environment variable.
    """
    device = local_device(device)
    if not started():
        yield SINGLE_PROCESS, device
        return
    end_with_parent()
    torch_device = pick_device(device)
    size = number_of("WORLD_SIZE", 1)
    rank = number_of("RANK", 0, size - 1)
    if STORE not in os.environ:
        number_of("MASTER_PORT", 1)
        if not os.environ.get("MASTER_ADDR"):
            raise InputError("the environment variable MASTER_ADDR is not set", remedy=TORCHRUN)
    if number_of("LOCAL_WORLD_SIZE", 0, default="0") == size:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo0" if sys.platform == "darwin" else "lo")
    if torch_device.type == "cuda":
        torch.cuda.set_device(torch_device)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch_device.type == "cuda" else "gloo",
        init_method=f"file://{os.environ[STORE]}" if STORE in os.environ else "env://",
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    try:
        yield ProcessGroup(rank, size), device
    finally:
        distributed.destroy_process_group()
