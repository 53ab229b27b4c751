"""Dictionaries of user data in which no key may occur twice.

A plain ``{key: value for ...}`` keeps the last value of a repeated key and drops the others, so an
image would get the captions, boxes or features of another one without any message.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TypeVar

from itm_core.errors import InputError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def unique_keys(
    pairs: Iterable[tuple[K, V]],
    file: Path | str | None,
    *,
    what: str = "images",
    source: Callable[[V], object] = str,
    remedy: str = "rename one of them, or remove it",
) -> dict[K, V]:
    """Return ``dict(pairs)``; raises `InputError` when two pairs have the same key.

    Args:
        file: where the pairs come from.
        what: the plural name of the things that are keyed, for the message.
        source: turns a value into the text that identifies it in the message.
        remedy: what the user can do.

    >>> unique_keys([("1", "a/1.jpg"), ("2", "a/2.jpg")], "captions.txt")
    {'1': 'a/1.jpg', '2': 'a/2.jpg'}
    """
    found: dict[K, V] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(
                f"two {what} share the key {key!r}",
                file=file,
                found=f"{source(found[key])} and {source(value)}",
                remedy=remedy,
            )
        found[key] = value
    return found
