"""``itm index`` and ``itm search``: a gallery made ready once, then asked with sentences.

Page: "Search at scale".
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.files import read_json

NOTE = "search.json"  # beside the gallery: whose matcher made it, of which images
VOCABULARY = "vocabulary.json"  # where the run has none in its own folder


def add(commands: argparse._SubParsersAction) -> None:
    """Add both to the commands."""
    command = commands.add_parser("index", help="make a gallery ready to be searched; resumable")
    command.add_argument("dataset", type=Path, help="folder in the SCAN layout")
    command.add_argument("folder", type=Path, metavar="DEST", help="the gallery to write")
    command.add_argument(
        "--run", type=Path, required=True, dest="run_folder", help="a finished run or an import"
    )
    command.add_argument(
        "--vocabulary", type=Path, metavar="FILE", help="of an imported checkpoint, as itm score's"
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


def _index(given: argparse.Namespace) -> int:
    from itm_book.checkpoints.imported_runs import ImportedRun, load_run, vocabulary_hash
    from itm_book.datasets.run_features import run_features
    from itm_book.folders import amount
    from itm_book.search.two_stage import build_two_stage
    from itm_core.data.dataset import load_split
    from itm_core.experiments.prepare import encode
    from itm_core.files import write_json

    run = load_run(given.run_folder, dataset=given.dataset, vocabulary=given.vocabulary)
    split = load_split(given.dataset, given.split)
    features = run_features(run, split)
    captions = encode(load_split(given.dataset, "train"), run.vocabulary)
    ready = build_two_stage(
        run.matcher(),
        features,
        captions,
        given.folder,
        kind=given.kind,
        vocabulary=vocabulary_hash(run.vocabulary) if run.imported else None,
        progress=True,
    )
    if isinstance(run, ImportedRun) and run.words is not None:
        # sentences are looked up in the same file
        run.words.save(given.folder / VOCABULARY)
    write_json(given.folder / NOTE, {"run": str(given.run_folder.resolve()), "ids": split.ids})
    print(f"{given.folder}: {len(ready.store)} images, regions {amount(ready.store.bytes)}")
    return 0


def _search(given: argparse.Namespace) -> int:
    from itm_book.checkpoints.imported_runs import load_run
    from itm_book.search.sentences import require_sentence
    from itm_book.search.two_stage import encode_captions, open_two_stage

    note = _read_note(given.folder)
    words = given.folder / VOCABULARY
    run = load_run(note["run"], vocabulary=words if words.exists() else None)
    unknown = [require_sentence(run.vocabulary, sentence) for sentence in given.sentences]
    ready = open_two_stage(run.matcher(), given.folder)
    if len(note["ids"]) != len(ready.store):
        raise _damaged(given.folder, f"{len(note['ids'])} ids for {len(ready.store)} images")
    for sentence, missing in zip(given.sentences, unknown, strict=True):
        words = encode_captions(ready.matcher, [run.vocabulary.encode(sentence)])
        found = ready.search(words, given.candidates, given.top)
        print(f"{sentence}: {1000 * sum(found.seconds.values()):.0f} ms")
        if missing:
            print(f"unknown to the vocabulary: {', '.join(missing)}")
        for image, score in zip(found.images[0], found.scores[0], strict=True):
            print(f"{score:9.4f}  {note['ids'][image]}")
    return 0


def _read_note(folder: Path) -> dict[str, Any]:
    """Return what `itm index` has noted: the folder of the run, and the id of each image.

    Raises `InputError` when there is no gallery, or the note is damaged.
    """
    if not (folder / NOTE).exists():
        state = f"no {NOTE} in it" if folder.is_dir() else "no such folder"
        raise InputError(
            "no gallery here",
            file=folder,
            found="a file" if folder.is_file() else state,
            remedy="make one with itm index, and name its folder",
        )
    note = read_json(folder / NOTE)
    if not isinstance(note.get("run"), str):
        raise _damaged(folder, f"run {note.get('run')!r}")
    ids = note.get("ids")
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise _damaged(folder, "ids that are no list of names")
    return note


def _damaged(folder: Path, found: str) -> InputError:
    return InputError(
        "the note of the gallery is damaged",
        file=folder / NOTE,
        expected="the folder of a run, and one id for each image",
        found=found,
        remedy="give the command again that made the gallery: itm index",
    )
