"""Checks that settings classes share: what a value may be, said in one sentence when it isn't."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeVar

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
