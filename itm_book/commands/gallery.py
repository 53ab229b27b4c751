"""``itm gallery``: the photographs of a gallery, and its numbers for other programs.

Page: "Your pictures".
"""

from __future__ import annotations

import argparse

from itm_book.commands.search import add_computing, computing
from itm_core import option_types


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``gallery`` with its own commands."""
    command = commands.add_parser(
        "gallery", help="add, remove and list photographs of a gallery; export its numbers"
    )
    command.set_defaults(group="search your pictures")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    part = _part(parts, "list", "print the names of the images", _list)
    part = _part(parts, "add", "add photographs, files or folders", _add)
    part.add_argument("photographs", type=option_types.path, nargs="+", metavar="PHOTO")
    add_computing(part)
    part = _part(parts, "remove", "remove photographs; their files are not touched", _remove)
    part.add_argument("names", nargs="+", metavar="NAME", help="of itm gallery list, or a folder")
    part = _part(parts, "export", "write embeddings, or scores with sentences", _export)
    part.add_argument(
        "out", type=option_types.path, metavar="FILE", help="ends in .npz or .parquet"
    )
    part.add_argument(
        "--sentences",
        type=option_types.path,
        metavar="FILE",
        help="a text file, one a line: write their scores with every image",
    )


def _part(
    parts: argparse._SubParsersAction, name: str, text: str, run: object
) -> argparse.ArgumentParser:
    part = parts.add_parser(name, help=text)
    part.add_argument("folder", type=option_types.path, metavar="GALLERY")
    part.add_argument(
        "--matcher", metavar="NAME", help="where the gallery's matcher is now, if it was moved"
    )
    part.set_defaults(run=run)
    return part


def _list(options: argparse.Namespace) -> int:
    from itm_book.galleries.opening import open_gallery
    from itm_core.errors import escaped

    gallery = open_gallery(options.folder, options.matcher)
    for names in gallery.names:
        print("\n".join(map(escaped, names)))
    for name, reason in getattr(gallery, "unreadable", {}).items():
        print(f"{escaped(name)}: left out, {reason}")
    return 0


def _add(options: argparse.Namespace) -> int:
    from itm_book.galleries.indexing import add_photographs

    changes = add_photographs(
        options.folder, options.photographs, options.matcher, computing(options)
    )
    print("\n".join(changes.lines()))
    return 0


def _remove(options: argparse.Namespace) -> int:
    from itm_book.galleries.indexing import remove_photographs

    changes = remove_photographs(options.folder, options.names, options.matcher)
    print("\n".join(changes.lines()))
    return 0


def _export(options: argparse.Namespace) -> int:
    from itm_book.galleries.export import export_embeddings, export_scores, read_sentences
    from itm_book.galleries.opening import open_gallery

    gallery = open_gallery(options.folder, options.matcher)
    if options.sentences is None:
        export_embeddings(gallery, options.out)
    else:
        export_scores(gallery, read_sentences(options.sentences), options.out)
    print(options.out)
    return 0
