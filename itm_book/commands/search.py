"""``itm index`` and ``itm search``: index a gallery once, then search it with sentences.

Page: "Search at scale".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.files import read_json

NOTE = "search.json"  # in the gallery's folder: the run and the ids of the images
VOCABULARY = "vocabulary.json"  # for runs that have none in their folder


def add(commands: argparse._SubParsersAction) -> None:
    """Add ``index`` and ``search`` to the commands."""
    command = commands.add_parser("index", help="index a gallery for searching; resumable")
    command.add_argument("dataset", type=Path, help="folder in the SCAN layout")
    command.add_argument("folder", type=Path, metavar="DEST", help="the gallery to write")
    command.add_argument(
        "--run", type=Path, required=True, dest="run_folder", help="a finished run or an import"
    )
    command.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="vocabulary of an imported checkpoint"
    )
    command.add_argument("--split", default="test", help="default: test")
    command.add_argument("--kind", default="float16", help="of regions: float16, int8 or float32")
    command.set_defaults(run=_index)
    command = commands.add_parser("search", help="search a gallery made by itm index")
    command.add_argument("folder", type=Path, metavar="GALLERY")
    command.add_argument("sentences", nargs="+", metavar="SENTENCE")
    command.add_argument("--candidates", type=int, default=2000, help="default: 2000")
    command.add_argument("--top", type=int, default=10, help="default: 10")
    command.set_defaults(run=_search)


def _index(options: argparse.Namespace) -> int:
    from itm_book.checkpoints.imported_runs import ImportedRun, load_run, vocabulary_hash
    from itm_book.datasets.run_features import run_features
    from itm_book.folders import amount
    from itm_book.search.two_stage import build_two_stage
    from itm_core.data.dataset import load_split
    from itm_core.experiments.prepare import encode
    from itm_core.files import write_json

    run = load_run(options.run_folder, dataset=options.dataset, vocabulary=options.vocabulary)
    split = load_split(options.dataset, options.split)
    features = run_features(run, split)
    captions = encode(load_split(options.dataset, "train"), run.vocabulary)
    search = build_two_stage(
        run.matcher(),
        features,
        captions,
        options.folder,
        kind=options.kind,
        vocabulary=vocabulary_hash(run.vocabulary) if run.imported else None,
        progress=True,
    )
    if isinstance(run, ImportedRun) and run.words is not None:  # sentences need the same file
        run.words.save(options.folder / VOCABULARY)
    write_json(options.folder / NOTE, {"run": str(options.run_folder.resolve()), "ids": split.ids})
    print(f"{options.folder}: {len(search.store)} images, regions {amount(search.store.bytes)}")
    return 0


def _search(options: argparse.Namespace) -> int:
    from itm_book.checkpoints.imported_runs import load_run
    from itm_book.search.sentences import require_sentence
    from itm_book.search.two_stage import encode_captions, open_two_stage

    note = _read_note(options.folder)
    vocabulary = options.folder / VOCABULARY
    run = load_run(note["run"], vocabulary=vocabulary if vocabulary.exists() else None)
    unknown = [require_sentence(run.vocabulary, sentence) for sentence in options.sentences]
    search = open_two_stage(run.matcher(), options.folder)
    if len(note["ids"]) != len(search.store):
        raise _damaged(options.folder, f"{len(note['ids'])} ids for {len(search.store)} images")
    for sentence, missing in zip(options.sentences, unknown, strict=True):
        words = encode_captions(search.matcher, [run.vocabulary.encode(sentence)])
        result = search.search(words, options.candidates, options.top)
        print(f"{sentence}: {1000 * sum(result.seconds.values()):.0f} ms")
        if missing:
            print(f"unknown to the vocabulary: {', '.join(missing)}")
        for image, score in zip(result.images[0], result.scores[0], strict=True):
            print(f"{score:9.4f}  {note['ids'][image]}")
    return 0


def _read_note(folder: Path) -> dict[str, Any]:
    """Return the note of `itm index`: the folder of the run, and the id of each image.

    Raises `InputError` when there is no gallery, or the note is damaged.
    """
    if not (folder / NOTE).exists():
        state = f"no {NOTE} in it" if folder.is_dir() else "no such folder"
        raise InputError(
            "no gallery in this folder",
            file=folder,
            found="a file" if folder.is_file() else state,
            remedy="make one with itm index, and name its folder",
        )
    note = read_json(folder / NOTE)
    if not isinstance(note.get("run"), str):
        raise _damaged(folder, f"run {note.get('run')!r}")
    ids = note.get("ids")
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise _damaged(folder, "ids that are not a list of names")
    return note


def _damaged(folder: Path, problem: str) -> InputError:
    return InputError(
        "the note of the gallery is damaged",
        file=folder / NOTE,
        expected="the folder of a run, and one id for each image",
        found=problem,
        remedy="run itm index again",
    )
