"""The list of data: what there is, where from, on what terms (``data/registry.toml``).

A set is a folder ``data/<name>/``; its files are listed one by one. An archive is a file with an
``unpack`` table: which of its members are taken, and where they go. The list is read strictly: an
unknown key, a bad address or a hash of the wrong length is an error with the place of the entry.

Page: "The data".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn
from urllib.parse import urlsplit

from itm_book.shipped import shipped
from itm_core.errors import InputError

REGISTRY = shipped("registry.toml")
RECORD = "hashes.json"  # what a set's folder keeps beside the data
HEXADECIMAL = {"sha256": 64, "md5": 32}


@dataclass(frozen=True, kw_only=True)
class Unpack:
    """What is taken out of an archive.

    Attributes:
        into: the folder below the set's that the members become.
        members: names or patterns; ``*`` stays within a folder, and each must be there.
        strip: how many leading folders of a member's name are left out.
        most: bytes that the members may have together.
    """

    into: str
    members: tuple[str, ...]
    most: int
    strip: int = 0


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a set: ``size`` in bytes where it is known exactly, ``about`` where roughly."""

    name: str
    what: str
    size: int | None = None
    about: int | None = None
    sha256: str | None = None
    md5: str | None = None
    sources: tuple[str, ...] = ()
    unpack: Unpack | None = None
    optional: bool = False

    @property
    def known_hash(self) -> str | None:
        """The published hash as pooch writes it, ``algorithm:digits``, or None."""
        found = ((name, getattr(self, name)) for name in HEXADECIMAL)
        return next((f"{name}:{value}" for name, value in found if value), None)


@dataclass(frozen=True, kw_only=True)
class SetEntry:
    """One set: its files, its terms, and how to get it by hand where that is needed."""

    name: str
    title: str
    what: str
    terms: str
    files: tuple[FileEntry, ...]
    by_hand: str = ""
    gone: tuple[str, ...] = ()
    then: str = ""

    def chosen(self, names: Collection[str]) -> list[FileEntry]:
        """Return the files of these names; raises `InputError` for one that the set lacks."""
        unknown = sorted(set(names) - {file.name for file in self.files})
        if unknown:
            raise InputError(
                f"{self.name} has no such file",
                expected=f"one of {', '.join(file.name for file in self.files)}",
                found=", ".join(unknown),
            )
        return [file for file in self.files if file.name in names]


def load(path: Path = REGISTRY) -> dict[str, SetEntry]:
    """Return the listed sets by name; raises `InputError` with the entry that is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "run this in a clone of the project, or name a list with --registry"
        raise InputError("the list of data is not there", file=path, remedy=remedy) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("not readable as TOML", file=path, found=str(error)) from None
    try:
        return {name: _set(name, table) for name, table in tables.items()}
    except InputError as error:
        raise InputError(
            error.problem, file=path, expected=error.expected, found=error.found
        ) from None


def find(name: str, path: Path = REGISTRY) -> SetEntry:
    """Return the set of this name; raises `InputError` when it isn't listed."""
    sets = load(path)
    if name not in sets:
        raise InputError("unknown set of data", expected=f"one of {', '.join(sets)}", found=name)
    return sets[name]


# --- reading strictly --------------------------------------------------------------------------


def _set(name: str, table: object) -> SetEntry:
    where = f"[{name}]"
    _name(where, name)
    kinds = {"title": str, "what": str, "terms": str, "files": list}
    given = _checked(where, table, kinds, {"by_hand": str, "gone": list, "then": str})
    files = tuple(_file(where, number, file) for number, file in enumerate(given.pop("files"), 1))
    names = [file.name.casefold() for file in files]
    names += [file.unpack.into.casefold() for file in files if file.unpack]
    if not files or len(set(names)) < len(names):
        _bad(where, "two files or folders of one name" if files else "a set without files")
    found = SetEntry(name=name, files=files, gone=_texts(where, given.pop("gone", [])), **given)
    without = [file.name for file in files if not file.sources]
    if without and not found.by_hand:
        _bad(where, f"{without[0]} has no source and the set no by_hand, so nobody can get it")
    return found


def _file(where: str, number: int, table: object) -> FileEntry:
    if isinstance(table, dict) and isinstance(table.get("name"), str):
        where = f"{where}, {table['name']}"
    else:
        where = f"{where}, file {number}"
    others: dict[str, type] = {"size": int, "about": int, "sha256": str, "md5": str}
    others |= {"sources": list, "unpack": dict, "optional": bool}
    given = _checked(where, table, {"name": str, "what": str}, others)
    _name(where, given["name"])
    for key in {"size", "about"} & given.keys():
        _at_least(where, key, given[key], 1)
    for key in HEXADECIMAL.keys() & given.keys():
        if not re.fullmatch(rf"[0-9a-f]{{{HEXADECIMAL[key]}}}", given[key]):
            digits = f"{HEXADECIMAL[key]} hexadecimal digits in lower case"
            _bad(where, f"{key} is no such hash", digits, given[key])
    sources = _texts(where, given.pop("sources", []))
    for source in sources:
        parts = urlsplit(source)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            _bad(where, "a source is no address", "http:// or https://", source)
    unpack = _unpack(where, given.pop("unpack")) if "unpack" in given else None
    return FileEntry(sources=sources, unpack=unpack, **given)


def _unpack(where: str, table: object) -> Unpack:
    where += ", unpack"
    kinds = {"into": str, "members": list, "most": int}
    given = _checked(where, table, kinds, {"strip": int})
    _name(where, given["into"])
    _at_least(where, "most", given["most"], 1)
    _at_least(where, "strip", given.get("strip", 0), 0)
    members = _texts(where, given.pop("members"))
    for member in members:
        parts = PurePosixPath(member).parts
        if member.startswith("/") or ".." in parts or len(parts) <= given.get("strip", 0):
            _bad(where, "no name of a member", "a path within the archive", member)
    if not members:
        _bad(where, "no members, so nothing would be taken")
    return Unpack(members=members, **given)


def _checked(
    where: str, table: object, required: Mapping[str, type], others: Mapping[str, type]
) -> dict[str, Any]:
    if not isinstance(table, dict):
        _bad(where, "not a table", found=type(table).__name__)
    unknown = sorted(table.keys() - required.keys() - others.keys())
    missing = sorted(required.keys() - table.keys())
    if unknown or missing:
        problem = f"missing {missing[0]}" if missing else "unknown key"
        _bad(where, problem, ", ".join((*required, *others)), ", ".join(unknown) or None)
    for key, kind in {**required, **others}.items():
        if key in table and type(table[key]) is not kind:  # True is no number here
            _bad(where, f"{key} is of the wrong type", kind.__name__, repr(table[key]))
    return dict(table)


def _texts(where: str, values: list[object]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        _bad(where, "not a list of texts", found=values)
    return tuple(map(str, values))


def _name(where: str, name: str) -> None:
    """Refuse what is no plain name of a file: it becomes one below ``data/``."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == RECORD:
        _bad(where, "not usable as the name of a file", "letters, digits, . _ -", name)


def _at_least(where: str, key: str, value: int, least: int) -> None:
    if value < least:
        _bad(where, f"{key} is too small", f"{least} or more", value)


def _bad(where: str, problem: str, expected: object = None, found: object = None) -> NoReturn:
    raise InputError(f"{where}: {problem}", expected=expected, found=found)
