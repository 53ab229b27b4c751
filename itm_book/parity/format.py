"""Reading reference files; differences of our numbers from theirs; reports."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.errors import InputError

VALUE_LIMIT = 2e-5  # absolute; relative for values above one, see `value_error`
GRADIENT_LIMIT = 1e-4  # of the largest entry of that gradient
DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Difference:
    """The error of ours for one stored number or array.

    Attributes:
        name: its key without ``outputs/``.
        error: the largest of its entries' errors, see `value_error`.
        limit: what is allowed.
        exempt: why a difference of this number is accepted; shown in the report.
    """

    name: str
    error: float
    limit: float
    exempt: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the limit (NaN never is), or the number exempt."""
        return self.exempt is not None or self.error <= self.limit


@dataclass(frozen=True)
class Report:
    """The result of comparing one file.

    Attributes:
        file: the file.
        kind: its kind, such as the family of a model.
        differences: one for every stored number.
        problem: why it could not be compared completely.
        known: whether a checker for this kind of file exists.
        skipped: whether it has no reference numbers; then ``kind`` is what it is instead.
    """

    file: Path
    kind: str
    differences: list[Difference] = field(default_factory=list)
    problem: str | None = None
    known: bool = True
    skipped: bool = False

    @property
    def passed(self) -> bool:
        """Whether numbers of the file were compared, all of them, and all agree."""
        return (
            self.problem is None
            and any(d.exempt is None for d in self.differences)
            and all(d.passed for d in self.differences)
        )

    @property
    def verdict(self) -> str:
        """``ok``, ``FAIL``, ``????`` for an unknown kind, ``skip``."""
        if self.skipped:
            return "skip"
        return "ok" if self.passed else "FAIL" if self.known else "????"

    def line(self) -> str:
        """Return the report as one line: verdict, file, kind, the error of every number."""
        errors = "  ".join(_error_text(d) for d in self.differences)
        text = self.problem or errors or "nothing in it was compared"
        text = "not a file of reference numbers" if self.skipped else text
        return f"{self.verdict:4} {self.file.name}  [{self.kind}]  {text}"


def _error_text(difference: Difference) -> str:
    if difference.exempt is not None:
        return f"{difference.name} exempt ({difference.exempt})"
    over = "" if difference.passed else f" > {difference.limit:.1e}!"
    return f"{difference.name} {difference.error:.1e}{over}"


@dataclass(frozen=True)
class Stored:
    """The arrays of one reference file, by folder, and its configuration."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    config: dict[str, Any]

    def folder(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays below ``name/`` with that prefix taken off."""
        start = f"{name}/"
        return {k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)}

    def tensor(self, key: str) -> Tensor:
        """Return one array as a tensor; raises `InputError` when the file lacks it."""
        if key not in self.arrays:
            raise InputError("this reference lacks an array", file=self.path, expected=key)
        return torch.from_numpy(self.arrays[key])

    def has(self, folder: str, pattern: str) -> bool:
        """Whether the name of an array below ``folder/`` matches the whole of ``pattern``."""
        names = (k[len(folder) + 1 :] for k in self.arrays if k.startswith(f"{folder}/"))
        return any(re.fullmatch(pattern, name) for name in names)


def read(path: Path) -> Stored:
    """Return the content of an ``.npz`` reference; without unpickling.

    Raises `InputError` when the file is damaged, or has pickled objects or a ``config`` that is
    not a dictionary.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array, not an archive")
        with file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(str(arrays.pop("config"))) if "config" in arrays else {}
    except (OSError, ValueError, EOFError, KeyError, *DAMAGED) as error:
        raise InputError("not readable as a reference", file=path, found=str(error)) from error
    if not isinstance(config, dict):
        raise InputError(
            "the config is not a JSON object", file=path, expected="options by name", found=config
        )
    imaginary = [name for name, values in arrays.items() if values.dtype.kind == "c"]
    if imaginary:
        raise InputError(
            "a reference has complex numbers", file=path, expected="reals", found=imaginary[0]
        )
    return Stored(path, arrays, config)


def value_difference(
    name: str, ours: Tensor, theirs: Tensor, limit: float = VALUE_LIMIT
) -> Difference:
    """Return the difference of values: absolute, relative for those above one."""
    return Difference(name, value_error(ours, theirs), limit)


def value_error(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest ``|ours - theirs| / max(1, |theirs|)``, NaN for another shape.

    For integers (counts, ranks, ids) the absolute difference.

    >>> round(value_error(torch.tensor([0.001, 502.0]), torch.tensor([0.002, 500.0])), 6)
    0.004
    """
    if ours.shape != theirs.shape:
        return float("nan")
    if not theirs.numel():
        return 0.0
    error = (ours.double() - theirs.double()).abs()
    if theirs.is_floating_point():
        error = error / theirs.double().abs().clamp_min(1)
    return error.max().item()


def gradient_differences(
    ours: Mapping[str, Tensor | None], theirs: Mapping[str, Tensor]
) -> Iterator[Difference]:
    """Yield the difference of each gradient, measured against its largest entry.

    A gradient that is mathematically zero is rounding noise; it is compared with a hundredth of
    the largest gradient of the file.
    """
    largest = max((g.abs().max().item() for g in theirs.values()), default=0.0)
    for name, gradient in theirs.items():
        scale = max(gradient.abs().max().item(), largest / 100)
        our_gradient = ours.get(name)
        error = float("nan")
        if our_gradient is not None and our_gradient.shape == gradient.shape:
            error = (our_gradient.double() - gradient.double()).abs().max().item()
        yield Difference(f"grad/{name}", error, GRADIENT_LIMIT * scale)
