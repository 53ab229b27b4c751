"""``itm data``: list, download, verify, convert and make datasets.

Page: "The data".
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from itm_book.commands import convert, extractor, make
from itm_core import option_types

if TYPE_CHECKING:
    from itm_book.datasets.registry import SetEntry
    from itm_book.datasets.status import FileStatus


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``data`` to the commands."""
    outer = commands.add_parser("data", help="list, get, examine, convert and make datasets")
    outer.set_defaults(group="get data")
    inner = outer.add_subparsers(required=True, metavar="COMMAND")
    command = inner.add_parser("list", help="the datasets, their terms, and which are present")
    command.set_defaults(run=_list)
    _folder_options(command)
    command = inner.add_parser("get", help="download, verify and unpack a dataset")
    command.add_argument("name", metavar="NAME", help="a name from `itm data list`")
    command.add_argument(
        "files", nargs="*", metavar="FILE", help="default: all but the optional ones"
    )
    command.set_defaults(run=_get)
    _folder_options(command)
    command = inner.add_parser("doctor", help="which files are missing or corrupt; what to do")
    command.add_argument("name", metavar="NAME", help="a name from `itm data list`")
    command.add_argument("--quick", action="store_true", help="compare sizes, not contents")
    command.set_defaults(run=_doctor)
    _folder_options(command)
    command = inner.add_parser("vocab", help="write the vocabulary of the training captions")
    command.add_argument(
        "folder", type=option_types.path, metavar="FOLDER", help="in the SCAN layout"
    )
    command.add_argument(
        "--threshold",
        type=option_types.whole(),
        help="minimum occurrences of a word (default: 4)",
    )
    command.add_argument(
        "--replace", action="store_true", help="replace the vocabulary of the dataset"
    )
    command.set_defaults(run=_vocab)
    convert.add(inner)
    make.add(inner)
    extractor.add(inner)


def _folder_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--data", type=option_types.path, default=Path("data"), help="folder of datasets"
    )
    command.add_argument("--registry", type=option_types.path, help="default: data/registry.toml")


def _sets(options: argparse.Namespace) -> dict[str, SetEntry]:
    from itm_book.datasets import registry

    return registry.load(options.registry or registry.REGISTRY)


def _list(options: argparse.Namespace) -> int:
    from itm_book.folders import amount

    for entry in _sets(options).values():
        folder = options.data / entry.name
        size = sum(file.size or file.about or 0 for file in entry.files if not file.optional)
        login = any(not file.sources for file in entry.files)
        print(f"{entry.name}: {entry.title}. {entry.what[0].upper()}{entry.what[1:]}.")
        print(f"    {entry.terms}")
        size_text = f"about {amount(size)}" if size else "of unknown size"
        method = "manually, with a login elsewhere" if login else f"itm data get {entry.name}"
        print(f"    {size_text}; {method}; {folder}{'' if folder.exists() else ' is missing'}")
    return 0


def _get(options: argparse.Namespace) -> int:
    from itm_book.datasets import registry, status

    entry = registry.find(options.name, options.registry or registry.REGISTRY)
    return _report(entry, status.get(entry, options.files, data=options.data))


def _doctor(options: argparse.Namespace) -> int:
    from itm_book.datasets import registry, status

    entry = registry.find(options.name, options.registry or registry.REGISTRY)
    return _report(
        entry, status.DatasetStatus(entry, options.data, quick=options.quick).all_files()
    )


def _vocab(options: argparse.Namespace) -> int:
    from itm_book.datasets.vocabulary_writing import write_vocabulary
    from itm_core.data.vocabulary import THRESHOLD

    threshold = THRESHOLD if options.threshold is None else options.threshold
    written = write_vocabulary(options.folder, threshold=threshold, replace=options.replace)
    print("\n".join(written.lines()))
    return 0


def _report(entry: SetEntry, statuses: Collection[FileStatus]) -> int:
    """Print the status of the files and the next command; return 1 for incomplete datasets."""
    from itm_book.datasets.status import next_command

    print("\n".join(status.line() for status in statuses))
    command = next_command(entry, statuses)
    if command:
        print(f"next: {command}")
    return 0 if all(status.complete for status in statuses) else 1
