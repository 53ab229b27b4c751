"""``itm data``: list, download, verify, convert and make datasets.

Page: "The data".
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from itm_book.commands import convert, extractor, make
from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_data, add_parts, completed_by

if TYPE_CHECKING:
    from itm_book.datasets.registry import SetEntry
    from itm_book.datasets.status import FileStatus

TITLE = 60  # characters of a title in the list


def add(commands: Commands) -> None:
    """Add ``data`` to the commands."""
    inner = add_parts(
        commands,
        "data",
        "list, get, examine, convert and make datasets",
        "itm data list",
        "itm data get flickr8k",
        group="get data",
    )
    text = "list the datasets, and say which are present"
    command = add_command(inner, "list", text, _list, "itm data list", "itm data list flickr8k")
    command.add_argument(
        "names", nargs="*", metavar="NAME", help="of datasets, for their content, terms and files"
    )
    _folder_options(command)
    text = "download, verify and unpack a dataset"
    command = add_command(inner, "get", text, _get, "itm data get flickr8k")
    _name_argument(command)
    command.add_argument(
        "files", nargs="*", metavar="FILE", help="some of its files; default: all but optional ones"
    )
    _folder_options(command)
    text = "say which files of a dataset are missing or corrupt, and what to do"
    command = add_command(inner, "doctor", text, _doctor, "itm data doctor flickr8k --quick")
    _name_argument(command)
    command.add_argument("--quick", action="store_true", help="compare sizes, not contents")
    _folder_options(command)
    text = "write the vocabulary of the training captions"
    example = "itm data vocab data/my-photographs --threshold 1"
    command = add_command(inner, "vocab", text, _vocab, example)
    command.add_argument(
        "folder", type=option_types.path, metavar="DATASET", help="a folder in the SCAN layout"
    )
    command.add_argument(
        "--threshold",
        type=option_types.whole(),
        metavar="N",
        help="minimum occurrences of a word; default: 4",
    )
    command.add_argument(
        "--replace", action="store_true", help="replace the vocabulary of the dataset"
    )
    convert.add(inner)
    make.add(inner)
    extractor.add(inner)


def _name_argument(command: argparse.ArgumentParser) -> None:
    def names(_prefix: str) -> list[str]:
        """Return the names of the datasets."""
        from itm_book.datasets import registry

        return list(registry.load())

    name = command.add_argument("name", metavar="NAME", help="a name from `itm data list`")
    completed_by(name, names)


def _folder_options(command: argparse.ArgumentParser) -> None:
    add_data(command)
    command.add_argument(
        "--registry",
        type=option_types.path,
        metavar="FILE",
        help="the list of datasets; default: data/registry.toml",
    )


def _sets(options: argparse.Namespace) -> dict[str, SetEntry]:
    from itm_book.datasets import registry

    return registry.load(options.registry or registry.REGISTRY)


def _list(options: argparse.Namespace) -> int:
    from itm_book.datasets import registry

    sets = _sets(options)
    if options.names:
        entries = [registry.entry_of(name, sets) for name in options.names]
        print("\n\n".join("\n".join(_details(entry, options.data)) for entry in entries))
        return 0
    width = max(map(len, sets), default=0)
    print(f"{'name':{width}}  {'size':>8}  here  content")
    for entry in sets.values():
        here = "yes" if (options.data / entry.name).exists() else "no"
        title = entry.title if len(entry.title) < TITLE else f"{entry.title[: TITLE - 1]}…"
        print(f"{entry.name:{width}}  {_size(entry):>8}  {here:4}  {title}")
    print("\nitm data list NAME: content, terms of use, and how to get it.")
    return 0


def _size(entry: SetEntry) -> str:
    """Return about how large the files are that `itm data get` downloads."""
    from itm_book.folders import amount

    size = sum(file.size or file.about or 0 for file in entry.files if not file.optional)
    return amount(size) if size else "unknown"


def _details(entry: SetEntry, data: Path) -> list[str]:
    """Return all that is known about a dataset, wrapped."""
    login = any(not file.sources for file in entry.files)
    method = "manually, with a login elsewhere" if login else f"itm data get {entry.name}"
    folder = data / entry.name
    parts = {
        "content": entry.what,
        "terms": entry.terms,
        "size": f"about {_size(entry)}",
        "get it": f"{method}; itm data doctor {entry.name} says what is missing",
        "folder": f"{folder}{'' if folder.exists() else ' (missing)'}",
    }
    indent = " " * 11
    return [
        f"{entry.name}: {entry.title}",
        *(
            line
            for name, text in parts.items()
            for line in textwrap.wrap(
                f"  {name:9}{text}", 100, subsequent_indent=indent, break_on_hyphens=False
            )
        ),
    ]


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
