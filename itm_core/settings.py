"""Checks that settings classes share: what a value may be, said in one sentence when it isn't."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np

from itm_core.errors import InputError

Entry = TypeVar("Entry")


def one_of(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise `InputError` unless ``value`` is one of ``allowed``."""
    if value not in tuple(allowed):  # a tuple finds values that have no hash too
        choices = ", ".join(map(str, allowed))
        raise InputError(f"unknown value of {name}", expected=f"one of {choices}", found=value)


def registered(name: str, value: str, registry: Mapping[str, Entry]) -> Entry:
    """Return the entry of a registry called ``value``; raise `InputError` when there is none."""
    one_of(name, value, registry)
    return registry[value]


def positive(name: str, value: float) -> None:
    """Raise `InputError` unless ``value`` is a finite number above zero."""
    if not 0 < value < float("inf"):
        raise InputError(f"{name} must be above zero", expected="a positive number", found=value)


def at_least(name: str, value: int, least: int) -> None:
    """Raise `InputError` unless ``value`` is at least ``least``."""
    if value < least:
        raise InputError(f"{name} is too small", expected=f"{least} or more", found=value)


def share(name: str, value: float) -> None:
    """Raise `InputError` unless ``value`` is at least 0 and below 1."""
    if not 0 <= value < 1:
        raise InputError(f"{name} is no share", expected="0 or more, below 1", found=value)


def not_negative(name: str, value: float) -> None:
    """Raise `InputError` unless ``value`` is a finite number, zero or above."""
    if not 0 <= value < float("inf"):
        raise InputError(f"{name} is negative", expected="0 or more", found=value)


SEEDS = 2**32  # the seeds of numpy's generators, which torch's take too


def seed_of(value: object) -> int:
    """Return a seed as a whole number; papermill's ``-r`` gives one as text.

    Raises `InputError` for anything but a whole number from 0 to 2**32 - 1 or its decimal text.

    >>> seed_of("3")
    3
    """
    number = -1
    if isinstance(value, str):
        number = int(value) if re.fullmatch("0|[1-9][0-9]{0,9}", value) else -1
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        number = int(value)
    if not 0 <= number < SEEDS:
        raise InputError(
            "not a seed",
            expected=f"a whole number from 0 to {SEEDS - 1}",
            found=reprlib.repr(value),
        )
    return number


def texts(name: str, values: object) -> tuple[str, ...]:
    """Return a list or tuple of texts as a tuple; raises `InputError` for anything else."""
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise InputError(
            f"{name} must be a list of texts",
            expected="such as ['a', 'b']",
            found=reprlib.repr(values),
        )
    return tuple(values)


def instance(name: str, value: object, *kinds: type) -> None:
    """Raise `InputError` unless ``value`` is an instance of one of ``kinds``."""
    if not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(f"{name} has the wrong type", expected=expected, found=reprlib.repr(value))
