"""What a reference file holds, and how far our numbers are from it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.errors import InputError

VALUE_LIMIT = 2e-5  # absolute; relative for values above one
GRADIENT_LIMIT = 1e-4  # of the largest entry of that gradient


@dataclass(frozen=True)
class Difference:
    """How far one stored number (or array) is from ours.

    Attributes:
        name: its key without ``outputs/``.
        error: largest absolute difference.
        limit: what is allowed.
        exempt: why this number is not held against ours; the report says so by name.
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
    """What comparing one file gave."""

    file: Path
    kind: str
    differences: list[Difference] = field(default_factory=list)
    problem: str | None = None
    known: bool = True

    @property
    def passed(self) -> bool:
        """Whether the file is known and every number in it agrees."""
        return self.known and self.problem is None and all(d.passed for d in self.differences)

    def line(self) -> str:
        """Return the report as one line: verdict, file, kind, the error of every number."""
        verdict = "ok  " if self.passed else "FAIL" if self.known else "????"
        said = "  ".join(_said(d) for d in self.differences)
        return f"{verdict} {self.file.name}  [{self.kind}]  {self.problem or said}".rstrip()


def _said(difference: Difference) -> str:
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


def read(path: Path) -> Stored:
    """Return the content of an ``.npz`` reference; raises `InputError` when it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        config = json.loads(str(arrays.pop("config"))) if "config" in arrays else {}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise InputError("not readable as a reference", file=path, found=str(error)) from error
    return Stored(path, arrays, config)


def value_difference(name: str, ours: Tensor, theirs: Tensor) -> Difference:
    """Return the difference of forward values (absolute, relative to values above one)."""
    error = _error(ours, theirs)
    scale = max(1.0, theirs.abs().max().item()) if theirs.numel() else 1.0
    return Difference(name, error, VALUE_LIMIT * (scale if theirs.ndim == 0 else 1.0))


def gradient_differences(
    ours: Mapping[str, Tensor | None], theirs: Mapping[str, Tensor]
) -> Iterator[Difference]:
    """Yield the difference of each gradient, measured against its largest entry.

    A gradient that is zero on paper is rounding noise; it is measured against a hundredth of
    the largest gradient of the case.
    """
    largest = max((g.abs().max().item() for g in theirs.values()), default=0.0)
    for name, gradient in theirs.items():
        scale = max(gradient.abs().max().item(), largest / 100)
        mine = ours.get(name)
        error = float("nan") if mine is None else _error(mine, gradient)
        yield Difference(f"grad/{name}", error, GRADIENT_LIMIT * scale)


def _error(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("nan")
    return (ours.double() - theirs.double()).abs().max().item() if theirs.numel() else 0.0
