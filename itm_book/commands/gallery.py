"""``itm gallery``: the photographs of a gallery, and its numbers for other programs.

Page: "Your pictures".
"""

from __future__ import annotations

import argparse

from itm_book.commands.search import add_computing, computing
from itm_core import option_types
from itm_core.command_parser import Commands, Run, add_command, add_parts

EXAMPLE = "data/galleries/my-photographs"


def add(commands: Commands) -> None:
    """Add ``gallery`` with its own commands."""
    parts = add_parts(
        commands,
        "gallery",
        "add, remove and list photographs of a gallery; export its numbers",
        f"itm gallery list {EXAMPLE}",
        group="search your pictures",
    )
    _part(parts, "list", "print the names of the images", _list, "")
    part = _part(parts, "add", "add photographs, files or folders", _add, "new-photographs dog.jpg")
    part.add_argument(
        "photographs",
        type=option_types.path,
        nargs="+",
        metavar="PHOTO",
        help="a file, or a folder with its subfolders",
    )
    add_computing(part)
    part = _part(
        parts, "remove", "remove photographs; their files are not touched", _remove, "dog.jpg"
    )
    part.add_argument(
        "names", nargs="+", metavar="NAME", help="as itm gallery list prints it, or a folder"
    )
    part = _part(
        parts, "export", "write embeddings, or scores with sentences", _export, "embeddings.npz"
    )
    part.add_argument(
        "out", type=option_types.path, metavar="FILE", help="ends in .npz or .parquet"
    )
    part.add_argument(
        "--sentences",
        type=option_types.path,
        metavar="FILE",
        help="a text file, one a line: write their scores with every image",
    )


def _part(parts: Commands, name: str, text: str, run: Run, example: str) -> argparse.ArgumentParser:
    part = add_command(parts, name, text, run, f"itm gallery {name} {EXAMPLE} {example}".rstrip())
    part.add_argument(
        "folder", type=option_types.path, metavar="GALLERY", help="the folder that itm index wrote"
    )
    part.add_argument(
        "--matcher", metavar="NAME", help="where the gallery's matcher is now, if it was moved"
    )
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
