"""``itm index`` and ``itm search``: index a gallery once, then search it with sentences.

Page: "Your pictures", "Search at scale".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from itm_core import option_types
from itm_core.command_parser import Commands, add_command, add_device
from itm_core.errors import InputError
from itm_core.parallel import cores

if TYPE_CHECKING:
    from itm_book.galleries.indexing import Computing
    from itm_core.experiments.run import Run

MATCHER = "scan-t2i"  # a shipped one
OF_DATASETS, OF_PHOTOGRAPHS = ("vocabulary", "split", "kind"), ("workers",)  # options


def add(commands: Commands) -> None:
    """Add ``index`` and ``search`` to the commands."""
    command = add_command(
        commands,
        "index",
        "index a folder of photographs, or a dataset, for searching; resumable",
        _index,
        "itm index my-photographs",
        "itm index data/flickr8k-regions data/galleries/flickr8k --split test",
        group="search your pictures",
    )
    command.add_argument(
        "source",
        type=option_types.path,
        metavar="PHOTOS",
        help="a folder of photographs with its subfolders, or a dataset in the SCAN layout",
    )
    command.add_argument(
        "folder",
        type=option_types.path,
        nargs="?",
        metavar="GALLERY",
        help="the folder to write; default: data/galleries/<name of PHOTOS>",
    )
    command.add_argument(
        "--matcher",
        "--run",
        metavar="NAME",
        help=f"a shipped matcher, a finished run or an import; default: {MATCHER}, or the one "
        "that the gallery was made with",
    )
    add_computing(command)
    dataset = command.add_argument_group("of a dataset")
    dataset.add_argument(
        "--vocabulary",
        type=option_types.path,
        metavar="FILE",
        help="vocabulary of an imported checkpoint",
    )
    dataset.add_argument("--split", help="train, dev, test or one of your own; default: test")
    dataset.add_argument("--kind", help="of regions: float16, int8 or float32; default: float16")
    command = add_command(
        commands,
        "search",
        "search a gallery made by itm index",
        _search,
        'itm search data/galleries/my-photographs "a dog runs in the grass" --html dogs.html',
        group="search your pictures",
    )
    command.add_argument(
        "folder", type=option_types.path, metavar="GALLERY", help="the folder that itm index wrote"
    )
    command.add_argument(
        "sentences", nargs="+", metavar="SENTENCE", help="in quotation marks; several are answered"
    )
    command.add_argument(
        "--top", type=option_types.whole(), default=10, metavar="N", help="results; default: 10"
    )
    command.add_argument(
        "--html", type=option_types.path, metavar="PAGE", help="also write a page of results"
    )
    command.add_argument(
        "--matcher", metavar="NAME", help="where the gallery's matcher is now, if it was moved"
    )
    command.add_argument(
        "--candidates",
        type=option_types.whole(),
        metavar="N",
        help="images that the first stage of a dataset keeps; default: 2000",
    )


def add_computing(command: argparse.ArgumentParser) -> None:
    """Add the options of computing features of photographs."""
    add_device(command)
    command.add_argument(
        "--workers",
        type=option_types.processes,
        metavar="N",
        help="processes; default: one for each core, 1 on a GPU",
    )


def _index(options: argparse.Namespace) -> int:
    name = options.source.resolve().name
    folder = options.folder or Path("data/galleries") / (name or "gallery")
    layout, photographs = "a folder in the SCAN layout", "a folder of photographs"
    if any(options.source.glob("*_ims.npy")):
        _refuse(options, OF_PHOTOGRAPHS, "folders of photographs", photographs, layout)
        return _index_dataset(options, folder)
    _refuse(options, OF_DATASETS, "datasets", layout, f"{photographs}, or none")
    from itm_book.checkpoints import shipped_matchers
    from itm_book.galleries.indexing import index_photographs, photograph_note

    run: Run | None = None
    if options.matcher is not None or photograph_note(folder) is None:
        run = shipped_matchers.load(options.matcher or MATCHER)
    changes = index_photographs(options.source, folder, run, computing(options))
    print("\n".join(changes.lines()))
    return 0


def _refuse(
    options: argparse.Namespace, names: Sequence[str], of: str, expected: str, found: str
) -> None:
    """Raise `InputError` for an option of the other kind of gallery."""
    for name in names:
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name} is for {of}",
                file=options.source,
                expected=expected,
                found=found,
                remedy="leave it out",
            )


def computing(options: argparse.Namespace) -> Computing:
    """Return how features are computed, from the options of `add_computing`."""
    from itm_book.galleries.indexing import Computing
    from itm_core.environment import pick_device

    workers = options.workers
    if workers is None:
        workers = cores() if pick_device(options.device).type == "cpu" else 1
    return Computing(options.device, workers, progress=True)


def _index_dataset(options: argparse.Namespace, folder: Path) -> int:
    from itm_book.checkpoints import shipped_matchers
    from itm_book.checkpoints.imported_runs import load_run
    from itm_book.folders import amount
    from itm_book.galleries.dataset_gallery import index_dataset

    name = options.matcher or MATCHER
    if name in shipped_matchers.names():
        if options.vocabulary is not None:
            raise InputError(
                "--vocabulary is for imported checkpoints",
                found=f"the shipped matcher {name}, which has its own",
                remedy="leave it out",
            )
        run = shipped_matchers.load(name)
    else:
        run = load_run(name, dataset=options.source, vocabulary=options.vocabulary)
    search = index_dataset(
        options.source,
        folder,
        run,
        split=options.split or "test",
        kind=options.kind or "float16",
        device=options.device,
        progress=True,
    )
    print(f"{folder}: {len(search.store)} images, regions {amount(search.store.bytes)}")
    return 0


def _search(options: argparse.Namespace) -> int:
    from itm_book.galleries.opening import open_gallery
    from itm_book.galleries.results import lines_of
    from itm_book.search.sentences import require_sentence

    gallery = open_gallery(options.folder, options.matcher)
    for sentence in options.sentences:  # before anything is printed
        require_sentence(gallery.run.vocabulary, sentence)
    results = []
    for sentence in options.sentences:
        large = options.html is not None
        result = gallery.search(sentence, options.top, options.candidates, small=not large)
        results.append(result)
    if options.html is not None:
        from itm_book.galleries.page import write_page

        write_page(options.html, gallery.run, options.folder.resolve().name, results)
    print("\n".join(line for result in results for line in lines_of(result)))
    if options.html is not None:
        print(options.html)
    return 0
