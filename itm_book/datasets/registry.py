"""The registry of datasets: files, sources and terms (``data/registry.toml``).

A dataset is a folder ``data/<name>/``; its files are listed one by one. An archive is a file with
an ``unpack`` table: which of its members are extracted, and where to. The registry is validated
strictly: an unknown key, an invalid address or hash is an `InputError` that names the entry.

Page: "The data".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from itm_book.shipped import shipped
from itm_core.errors import InputError, did_you_mean
from itm_core.settings import Settings

REGISTRY = shipped("registry.toml")
RECORD = "hashes.json"  # written to the folder of a dataset
Entry = TypeVar("Entry", bound=Settings)


def _valid(check: Callable[[str], bool], expected: str) -> AfterValidator:
    """Return the validator of a text that satisfies ``check``."""

    def validate(value: str) -> str:
        if not check(value):
            raise PydanticCustomError("text", "Input should be {expected}", {"expected": expected})
        return value

    return AfterValidator(validate)


def _is_file_name(text: str) -> bool:  # it becomes a file below data/
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text)) and text != RECORD


def is_member(text: str) -> bool:
    """Return whether a text is a path within a folder, which leads to no other one."""
    return bool(text) and not text.startswith("/") and ".." not in PurePosixPath(text).parts


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:  # an open bracket, a port that is no number
        return False
    plain = text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def _hash_of(digits: int) -> AfterValidator:
    pattern = re.compile(rf"[0-9a-f]{{{digits}}}")
    expected = f"{digits} hexadecimal digits in lower case"
    return _valid(lambda text: bool(pattern.fullmatch(text)), expected)


Text = Annotated[str, _valid(lambda text: text.strip() and text.isprintable(), "a line of text")]
Bytes = Annotated[int, Field(ge=1, lt=2**63)]
FileName = Annotated[str, _valid(_is_file_name, "the name of a file: letters, digits, . _ -")]
MemberName = Annotated[str, _valid(is_member, "a path within the archive")]
Address = Annotated[str, _valid(_is_address, "an address with http:// or https://")]
Sha256 = Annotated[str, _hash_of(64)]
Md5 = Annotated[str, _hash_of(32)]


class Unpack(Settings):
    """The members to extract from an archive.

    Attributes:
        into: the folder below the dataset's folder that the members are extracted to.
        members: names or patterns; ``*`` matches within a folder; each must match a member.
        most: maximum of the members' total size in bytes.
        strip: number of leading folders that are removed from the members' names.
    """

    into: FileName
    members: Annotated[tuple[MemberName, ...], Field(min_length=1)]
    most: Bytes
    strip: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _names_are_left(self) -> Self:
        for member in self.members:
            if len(PurePosixPath(member).parts) <= self.strip:
                raise InputError(
                    "strip removes the whole name of a member",
                    expected=f"more than {self.strip} parts",
                    found=member,
                )
        return self


class FileEntry(Settings):
    """One file of a dataset.

    Attributes:
        name: name of the file below the dataset's folder.
        what: its content.
        size: size in bytes, where it is known exactly.
        about: approximate size in bytes.
        sha256, md5: published hashes.
        sources: addresses, tried in this order; empty where a login is needed.
        unpack: the members to extract, for an archive.
        optional: whether it is downloaded only when it is named.
    """

    name: FileName
    what: Text
    size: Bytes | None = None
    about: Bytes | None = None
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    sources: tuple[Address, ...] = ()
    unpack: Unpack | None = None
    optional: bool = False

    @property
    def known_hash(self) -> str | None:
        """The published hash in pooch's notation, ``algorithm:digits``, or None."""
        hashes = {"sha256": self.sha256, "md5": self.md5}
        return next((f"{name}:{digits}" for name, digits in hashes.items() if digits), None)


class SetEntry(Settings):
    """One dataset.

    Attributes:
        name: name of its folder.
        title, what, terms: title, content and terms of use, for display.
        files: its files.
        by_hand: how to get the files that have no source.
        gone: addresses that stopped working.
        then: the next command when all files are present.
    """

    name: FileName
    title: Text
    what: Text
    terms: Text
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1)]
    by_hand: str = ""
    gone: tuple[str, ...] = ()
    then: str = ""

    @model_validator(mode="after")
    def _files_can_be_had(self) -> Self:
        names = [file.name.casefold() for file in self.files]
        names += [file.unpack.into.casefold() for file in self.files if file.unpack]
        if len(set(names)) < len(names):
            raise InputError("two files or folders have the same name", found=", ".join(names))
        without_source = [file.name for file in self.files if not file.sources]
        if without_source and not self.by_hand:
            raise InputError(
                f"{without_source[0]} has no source",
                expected="sources, or by_hand, which says how to get it",
            )
        return self

    def chosen(self, names: Collection[str]) -> list[FileEntry]:
        """Return the files of these names; raises `InputError` for an unknown one."""
        unknown = sorted(set(names) - {file.name for file in self.files})
        if unknown:
            raise InputError(
                f"{self.name} has no such file",
                expected=f"one of {', '.join(file.name for file in self.files)}",
                found=", ".join(unknown),
                remedy=did_you_mean(unknown[0], [file.name for file in self.files]),
            )
        return [file for file in self.files if file.name in names]


def load(path: Path = REGISTRY) -> dict[str, SetEntry]:
    """Return the registered datasets by name.

    Raises `InputError` for a file that cannot be read, and for an invalid entry, which it names.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "run this in a clone of the project, or name a registry with --registry"
        raise InputError("the registry of datasets is missing", file=path, remedy=remedy) from None
    except (ValueError, RecursionError) as error:
        raise InputError("not readable as TOML", file=path, found=str(error)) from None
    except IsADirectoryError:
        raise InputError("not a registry", file=path, found="a folder") from None
    try:
        return {name: _set_entry(name, table) for name, table in tables.items()}
    except InputError as error:
        raise InputError(
            error.problem, file=path, expected=error.expected, found=error.found
        ) from None


def find(name: str, path: Path = REGISTRY) -> SetEntry:
    """Return the dataset of this name; raises `InputError` when it is not registered."""
    return entry_of(name, load(path))


def entry_of(name: str, sets: Mapping[str, SetEntry]) -> SetEntry:
    """Return one of the datasets; raises `InputError`, with the likeliest name, for no such one."""
    if name not in sets:
        raise InputError(
            "unknown dataset",
            expected=f"one of {', '.join(sets)}",
            found=name,
            remedy=did_you_mean(name, sets) or "`itm data list` lists them",
        )
    return sets[name]


def _set_entry(name: str, table: object) -> SetEntry:
    where = f"[{name}]"
    values = {"name": name, **_values(where, table)}
    if isinstance(values.get("files"), tuple):
        files = enumerate(values["files"], 1)
        values["files"] = tuple(_file_entry(where, number, file) for number, file in files)
    return _entry(SetEntry, where, values)


def _file_entry(where: str, number: int, table: object) -> FileEntry:
    values = _values(f"{where}, file {number}", table)
    where = f"{where}, {values.get('name', f'file {number}')}"
    if "unpack" in values:
        unpack_table = _values(f"{where}, unpack", values["unpack"])
        values["unpack"] = _entry(Unpack, f"{where}, unpack", unpack_table)
    return _entry(FileEntry, where, values)


def _values(where: str, table: object) -> dict[str, Any]:
    """Return a table with tuples in place of lists; raises `InputError` unless it is a table."""
    if not isinstance(table, dict):
        raise InputError(f"{where}: not a table", found=type(table).__name__)
    return {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}


def _entry(kind: type[Entry], where: str, values: dict[str, Any]) -> Entry:
    """Return a validated entry; an `InputError` names its place in the registry."""
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(
            f"{where}: {error.problem}", expected=error.expected, found=error.found
        ) from None
