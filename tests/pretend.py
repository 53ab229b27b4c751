"""An accelerator that is not there: a device of torch whose operations are computed on the CPU.

A tensor of the device holds a tensor of the CPU. An operation gets what its tensors hold, and its
results are tensors of the device again. One that mixes devices raises `MixedDevicesError`, as on an
accelerator; tensors without dimensions may be mixed, and what copies between devices does. `waits`
counts what makes a processor wait for an accelerator, and `memory` the bytes of its tensors.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

from tests.live_bytes import Memory

NAME = "pretend"
COPIES = ("copy_", "_to_copy", "set_")
PACKING = "_pack_padded_sequence"  # the lengths that it takes and gives are on the CPU everywhere
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "is_nonzero", "equal")
INDEXING = ("index", "index_put_", "index_put")
waits: Counter[str] = Counter()
memory = Memory()


class MixedDevicesError(RuntimeError):
    """An operation with tensors of two devices."""


class Pretend(Tensor):
    """A tensor of the device; ``held`` holds its numbers."""

    @staticmethod
    def __new__(cls: type[Pretend], inner: Tensor) -> Pretend:
        return Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
        )

    def __init__(self, inner: Tensor) -> None:
        self.held = inner
        memory.hold(self, inner.untyped_storage())

    def __repr__(self, **_: Any) -> str:
        return f"Pretend({self.held!r})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().cpu().__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, op: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(op, args, kwargs or {})


def computed(op: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Return the result of an operation on tensors of the device, or one that makes such."""
    name = op.overloadpacket.__name__
    values, form = tree_flatten((args, kwargs))
    ours = [value for value in values if isinstance(value, Pretend)]
    check(name, values, ours)
    device = kwargs.get("device")
    if name in WAITS or (name == "_to_copy" and device is not None and device.type == "cpu"):
        waits[name] += 1
    if name in INDEXING and any(is_mask(index) for index in tree_flatten(args[1])[0]):
        waits["index by a mask"] += 1
    inner = {id(value.held): value for value in ours}
    if torch.Tag.inplace_view in op.tags:  # of a tensor's shape, which the outer one has too
        with no_dispatch():
            op(*args, **kwargs)
    args, kwargs = tree_unflatten([on_cpu(value) for value in values], form)
    result = FUSED.get(name, op)(*args, **kwargs)
    if device.type == "cpu" if device is not None else not ours:
        return result
    known = {id(value): value for value in ours}
    if name == PACKING:
        return wrapped(result[0], inner, known), result[1]
    return tree_map(lambda value: wrapped(value, inner, known), result)


def is_mask(index: Any) -> bool:
    """Return whether an index is a mask: how many elements it chooses is known when it is there."""
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def on_cpu(value: Any) -> Any:
    """Return what a value stands for on the CPU."""
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device("cpu")
    return value.held if isinstance(value, Pretend) else value


def wrapped(value: Any, inner: dict[int, Pretend], known: dict[int, Pretend]) -> Any:
    """Return a result as a tensor of the device: the argument itself where it was changed."""
    if not isinstance(value, Tensor) or id(value) in known:
        return value
    return inner[id(value)] if id(value) in inner else Pretend(value)


def check(name: str, values: list[Any], ours: list[Pretend]) -> None:
    """Raise `MixedDevicesError` where tensors of the CPU are among those of the device."""
    others = [v for v in values if isinstance(v, Tensor) and not isinstance(v, Pretend) and v.dim()]
    if ours and len(others) > (name == PACKING) and name not in COPIES:
        shapes = ", ".join(str(tuple(other.shape)) for other in others)
        raise MixedDevicesError(f"{name} mixes {NAME} with tensors of the CPU: {shapes}")


def gru_cell(given: Tensor, hidden: Tensor, before: Tensor, *biases: Tensor) -> tuple[Tensor, ...]:
    """Return the next state ``[B, H]`` of a GRU, and what its gradients need ``[B, 5H]``."""
    if biases:
        given, hidden = given + biases[0], hidden + biases[1]
    (r, z, n), (r_too, z_too, n_too) = given.chunk(3, 1), hidden.chunk(3, 1)
    r, z = torch.sigmoid(r + r_too), torch.sigmoid(z + z_too)
    n = torch.tanh(n + r * n_too)
    return n + z * (before - n), torch.cat([r, z, n, before, n_too], dim=1)


def gru_cell_backward(grad: Tensor, kept: Tensor, has_bias: bool) -> tuple[Tensor | None, ...]:
    """Return the gradients of what `gru_cell` takes."""
    r, z, n, before, n_too = kept.chunk(5, 1)
    of_z, of_n = grad * (before - n) * z * (1 - z), grad * (1 - z) * (1 - n * n)
    of_r = of_n * n_too * r * (1 - r)
    given, hidden = torch.cat([of_r, of_z, of_n], 1), torch.cat([of_r, of_z, of_n * r], 1)
    biases = (given.sum(0), hidden.sum(0)) if has_bias else (None, None)
    return given, hidden, grad * z, *biases


# torch asks them of accelerators alone
FUSED = {
    "_thnn_fused_gru_cell": gru_cell,
    "_thnn_fused_gru_cell_backward": gru_cell_backward,
}


class _Module(_DummyBackendModule):
    """What torch asks of the module of a device."""

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, _device: Any = None) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, _device: Any = None) -> None:
        torch.set_rng_state(state)

    def synchronize(self, _device: Any = None) -> None:
        waits["synchronize"] += 1


@cache
def device() -> torch.device:
    """Return the device, which torch knows from the first call on."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    library = torch.library.Library("_", "IMPL")
    library.fallback(lambda op, *args, **kwargs: computed(op, args, kwargs), "PrivateUse1")
    KEPT.library = library
    return torch.device(NAME)


KEPT = SimpleNamespace()  # a library is removed with its object
