"""Several processes that train one run together, each with its share of every batch.

What they compute is what one process computes, but for the order in which sums are rounded: every
process makes the same batch and draws the same chances, encodes its share of images and captions,
scores its own captions with all images, and takes its share of the pairs that have a gradient.
Embeddings, scores and gradients are put together in between, so that hardest negatives are those
of the whole batch. The first process alone evaluates and writes.

torchrun starts the processes, or `launch` on one machine.

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
from itm_core.training.launch import STORE, end_with_parent, started

PATIENCE = timedelta(hours=12)  # the others wait while the first one evaluates

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one training, as one of them sees them; see `joined`.

    Every method but `share` must be called by all of them, in the same order. Alone, none does
    anything.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that evaluates and writes."""
        return self.rank == 0

    def shard(self, count: int) -> Tensor:
        """Return the places in a batch of ``count`` that are this process's.

        Every size-th, because captions come sorted by length. There may be none.
        """
        return torch.arange(min(self.rank, count), count, self.size)

    def all_reduce(self, part: Tensor) -> Tensor:
        """Return the sum over processes; it takes the place of ``part``."""
        if self.size > 1:
            distributed.all_reduce(part)
        return part

    def all_reduce_many(
        self, parts: Sequence[Tensor | None], like: Sequence[Tensor]
    ) -> list[Tensor | None]:
        """Return the sums over processes of tensors that some may lack; None where all do.

        ``like`` has the shapes.
        """
        if self.size == 1:
            return list(parts)
        there = self.all_reduce(
            torch.tensor([part is not None for part in parts], dtype=torch.int64)
        )
        return [
            self.all_reduce(torch.zeros_like(shape) if part is None else part.contiguous())
            if anywhere
            else None
            for part, shape, anywhere in zip(parts, like, there.tolist(), strict=True)
        ]

    def all_gather(self, part: Tensor, count: int, *, dim: int = 0) -> Tensor:
        """Return a tensor of size ``count`` along ``dim`` from the `shard` of each process."""
        if self.size == 1:
            return part
        gathered = part.new_zeros(*part.shape[:dim], count, *part.shape[dim + 1 :])
        gathered.index_copy_(dim, self.shard(count).to(part.device), part)
        return self.all_reduce(gathered)  # the zeros of the other processes change nothing

    def add_gradients(self, module: nn.Module) -> None:
        """Give every parameter the sum of its gradients over the processes."""
        parameters = list(module.parameters())
        sums = self.all_reduce_many([parameter.grad for parameter in parameters], parameters)
        for parameter, gradient in zip(parameters, sums, strict=True):
            parameter.grad = gradient

    def any(self, here: bool) -> bool:
        """Return whether it is so in any of the processes."""
        return bool(self.all_reduce(torch.tensor(int(here))))

    def broadcast(self, value: T) -> T:
        """Return what the first process says."""
        if self.size == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, device=torch.device("cpu"))
        return said[0]


SINGLE_PROCESS = ProcessGroup()


def row_wise(module: nn.Module) -> bool:
    """Return whether a module makes every row from that row alone, with nothing drawn by chance.

    One that does not must see the whole batch in every process.
    """
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            return False
        rates = (getattr(part, name, 0) for name in ("dropout", "dropout_prob"))
        drawn = part.p if isinstance(part, _DropoutNd) else 0
        if drawn or any(isinstance(rate, float) and rate > 0 for rate in rates):
            return False
    return True


def own_device(name: str) -> str:
    """Return the device of this process: of several GPUs the one with its number.

    Raises `InputError` when all processes are to share one GPU, which NCCL refuses.
    """
    if not started() or pick_device(name).type == "cpu":
        return name
    if ":" in name:
        raise InputError(
            "each process needs a GPU of its own",
            found=f"device {name}",
            expected="auto or cuda, or cpu",
        )
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def joined(device: str = "auto") -> Iterator[tuple[ProcessGroup, str]]:
    """Give the team of this process, and its device, as torchrun or `launch` have arranged it.

    Gradients go by NCCL between GPUs, everything else by gloo. Processes of one machine speak by
    its loopback interface, unless ``GLOO_SOCKET_IFNAME`` or ``NCCL_SOCKET_IFNAME`` name another.

    Raises `InputError` for a device that isn't there.
    """
    device = own_device(device)
    if not started():
        yield SINGLE_PROCESS, device
        return
    end_with_parent()
    where = pick_device(device)
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if int(os.environ.get("LOCAL_WORLD_SIZE", "0")) == size:
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            os.environ.setdefault(name, "lo0" if sys.platform == "darwin" else "lo")
    if where.type == "cuda":
        torch.cuda.set_device(where)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
        init_method=f"file://{os.environ[STORE]}" if STORE in os.environ else "env://",
        rank=rank,
        world_size=size,
        timeout=PATIENCE,
    )
    try:
        yield ProcessGroup(rank, size), device
    finally:
        distributed.destroy_process_group()
