"""Damages of JSON files: every field missing, of another type, huge, negative, nested."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from itm_core.errors import InputError

WRONG: tuple[Any, ...] = (
    None,
    "x",
    "",
    -1,
    10**12,
    10**30,
    1.5,
    True,
    "\ud800",
    "\0",
    [],
    [1],
    {},
    {"a": []},
)


def fields(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every field of nested objects, and of the first item of every list."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(content, dict):
        items = [*content.items()]
    elif isinstance(content, list):
        items = [*enumerate(content[:1])]
    for key, value in items:
        yield (*path, key)
        yield from fields(value, (*path, key))


def damages(content: Any) -> Iterator[tuple[str, Any]]:
    """What each damage is, and the damaged content; the content itself stays as it is."""
    for wrong in ([], {}, None, "x", 1):
        yield f"all {wrong!r}", wrong
    for path in fields(content):
        for wrong in (KeyError, *WRONG):
            damaged = copy.deepcopy(content)
            parent = damaged
            for step in path[:-1]:
                parent = parent[step]
            if wrong is KeyError:
                del parent[path[-1]]
            else:
                parent[path[-1]] = wrong
            what = "missing" if wrong is KeyError else repr(wrong)
            yield f"{'.'.join(map(str, path))} {what}", damaged


def _damaged_files(path: Path) -> Iterator[str]:
    """Write every damage of a JSON file in turn, and yield what it is."""
    whole = path.read_text()
    for what, content in damages(json.loads(whole)):
        path.write_text(json.dumps(content))
        yield what
    path.write_text(whole)


def refusals(path: Path, action: Callable[[], object]) -> int:
    """The number of damages of a JSON file that an action refuses; another error is a failure."""
    refused = 0
    for what in _damaged_files(path):
        try:
            action()
        except InputError:
            refused += 1
        except Exception as error:
            pytest.fail(f"{what}: {error!r}")
    return refused
