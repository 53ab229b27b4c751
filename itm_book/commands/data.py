"""``itm data``: which data there is, getting it, whether it is whole, making it ready.

Page: "The data".
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from itm_book.commands import convert, make

if TYPE_CHECKING:
    from itm_book.datasets.registry import SetEntry
    from itm_book.datasets.status import FileStatus


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``data`` to the commands."""
    outer = commands.add_parser("data", help="list, get, check, convert and make data")
    inner = outer.add_subparsers(required=True, metavar="COMMAND")
    command = inner.add_parser("list", help="which sets there are, their terms, what is here")
    command.set_defaults(run=_list)
    _add_places(command)
    command = inner.add_parser("get", help="download, check and unpack a set")
    command.add_argument("name", metavar="NAME", help="a name from `itm data list`")
    command.add_argument(
        "files", nargs="*", metavar="FILE", help="default: all but the optional ones"
    )
    command.set_defaults(run=_get)
    _add_places(command)
    command = inner.add_parser("doctor", help="what is there, missing or damaged; what to do")
    command.add_argument("name", metavar="NAME", help="a name from `itm data list`")
    command.add_argument("--quick", action="store_true", help="compare sizes, not contents")
    command.set_defaults(run=_doctor)
    _add_places(command)
    command = inner.add_parser("vocab", help="write the vocabulary of the training captions")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="in the SCAN layout")
    command.add_argument("--threshold", type=int, help="occurrences that a word needs (default: 4)")
    command.add_argument(
        "--replace", action="store_true", help="when the dataset has a vocabulary already"
    )
    command.set_defaults(run=_vocab)
    convert.add(inner)
    make.add(inner)


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    command.add_argument("--registry", type=Path, help="default: data/registry.toml")


def _sets(given: argparse.Namespace) -> dict[str, SetEntry]:
    from itm_book.datasets import registry

    return registry.load(given.registry or registry.REGISTRY)


def _list(given: argparse.Namespace) -> int:
    from itm_book.folders import amount

    for entry in _sets(given).values():
        folder = given.data / entry.name
        size = sum(file.size or file.about or 0 for file in entry.files if not file.optional)
        login = any(not file.sources for file in entry.files)
        print(f"{entry.name}: {entry.title}. {entry.what[0].upper()}{entry.what[1:]}.")
        print(f"    {entry.terms}")
        about = f"about {amount(size)}" if size else "of unknown size"
        way = "by hand, with a login elsewhere" if login else f"itm data get {entry.name}"
        print(f"    {about}; {way}; {folder}{'' if folder.exists() else ' is not there'}")
    return 0


def _get(given: argparse.Namespace) -> int:
    from itm_book.datasets import registry, status

    entry = registry.find(given.name, given.registry or registry.REGISTRY)
    return _told(entry, status.get(entry, given.files, data=given.data))


def _doctor(given: argparse.Namespace) -> int:
    from itm_book.datasets import registry, status

    entry = registry.find(given.name, given.registry or registry.REGISTRY)
    return _told(entry, status.DatasetStatus(entry, given.data, quick=given.quick).examine())


def _vocab(given: argparse.Namespace) -> int:
    from itm_book.datasets.vocabulary_writing import write_vocabulary
    from itm_core.data.vocabulary import THRESHOLD

    threshold = THRESHOLD if given.threshold is None else given.threshold
    done = write_vocabulary(given.folder, threshold=threshold, replace=given.replace)
    print("\n".join(done.lines()))
    return 0


def _told(entry: SetEntry, found: Collection[FileStatus]) -> int:
    """Print how the files are and what to do next; return 1 when something is to be done."""
    from itm_book.datasets.status import next_command

    print("\n".join(finding.line() for finding in found))
    following = next_command(entry, found)
    if following:
        print(f"next: {following}")
    return 0 if all(finding.fine for finding in found) else 1
