"""Lines that depend on files alone, kept so that printing them imports nothing large."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

from itm_core import __version__
from itm_core.errors import InputError
from itm_core.json_files import write_json


def cached_lines(
    name: str, sources: Iterable[Path], make: Callable[[], list[str]], folder: Path | None = None
) -> list[str]:
    """Return what ``make`` returns, made anew when one of the ``sources`` has changed.

    The lines are kept in Python's folder of compiled files, and as these: files count as changed by
    size or time, nothing is kept where that folder may not be written or PYTHONDONTWRITEBYTECODE
    is set, and deleting them is harmless.

    Args:
        name: of the file that they are kept in.
        folder: in the place of Python's.
    """
    place = (folder or Path(cache_from_source(__file__)).parent) / f"{name}.lines.json"
    states = ((path, path.stat()) for path in sorted(sources))
    text = [f"{path} {it.st_size} {it.st_mtime_ns}" for path, it in states]
    key = hashlib.sha256("\n".join([__version__, sys.version, *text]).encode()).hexdigest()
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["key"] == key and all(isinstance(line, str) for line in kept["lines"]):
            return list(kept["lines"])
    lines = make()
    if not sys.dont_write_bytecode:
        with suppress(OSError, InputError):
            write_json(place, {"key": key, "lines": lines})
    return lines


def modules_of(*packages: str) -> list[Path]:
    """Return the files of packages that are imported already, by their names."""
    folders = (Path(str(sys.modules[name].__file__)).parent for name in packages)
    return [path for folder in folders for path in folder.rglob("*.py")]
