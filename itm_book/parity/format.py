"""What a reference file holds, and how far our numbers are from it."""

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
    """How far one stored number (or array) is from ours.

    Attributes:
        name: its key without ``outputs/``.
        error: the largest of its entries' errors, see `value_error`.
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
    """What comparing one file gave.

    Attributes:
        file: the file.
        kind: what it holds.
        differences: one for every number stored in it.
        problem: why it could not be compared, wholly or in part.
        known: whether any checker knows this kind of file.
        skipped: whether it holds no reference numbers; ``kind`` says what it is.
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
        """``ok``, ``FAIL``, ``????`` for a kind that is not known, ``skip``."""
        if self.skipped:
            return "skip"
        return "ok" if self.passed else "FAIL" if self.known else "????"

    def line(self) -> str:
        """Return the report as one line: verdict, file, kind, the error of every number."""
        said = "  ".join(_said(d) for d in self.differences)
        said = self.problem or said or "nothing in it was compared"
        said = "not a file of reference numbers" if self.skipped else said
        return f"{self.verdict:4} {self.file.name}  [{self.kind}]  {said}"


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

    def has(self, folder: str, pattern: str) -> bool:
        """Whether the name of an array below ``folder/`` matches the whole of ``pattern``."""
        names = (k[len(folder) + 1 :] for k in self.arrays if k.startswith(f"{folder}/"))
        return any(re.fullmatch(pattern, name) for name in names)


def read(path: Path) -> Stored:
    """Return the content of an ``.npz`` reference; nothing in it is unpickled.

    Raises `InputError` when the file is damaged, holds objects or a ``config`` that is no
    dictionary.
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
            "the config is no JSON object", file=path, expected="options by name", found=config
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

    Whole numbers are counts, ranks or ids: of them the difference itself.

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

    A gradient that is zero on paper is rounding noise; it is measured against a hundredth of
    the largest gradient of the case.
    """
    largest = max((g.abs().max().item() for g in theirs.values()), default=0.0)
    for name, gradient in theirs.items():
        scale = max(gradient.abs().max().item(), largest / 100)
        mine = ours.get(name)
        error = float("nan")
        if mine is not None and mine.shape == gradient.shape:
            error = (mine.double() - gradient.double()).abs().max().item()
        yield Difference(f"grad/{name}", error, GRADIENT_LIMIT * scale)
