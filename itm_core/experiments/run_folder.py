"""The files of a run's folder that say what it is and what came out, read without torch.

`runs` writes these folders and lists their files; `run` reads the rest of them: weights, scores
and settings. ``files.json`` names the SHA-256 of the files that decide a run's numbers: each is
compared when it is first read, and a changed one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

from itm_core.errors import InputError
from itm_core.evaluation.recalls import NUMBERS
from itm_core.files import reading, require_sha256, sha256
from itm_core.json_files import read_json, write_json
from itm_core.option_types import SEEDS

COMPLETE = "metrics.json"
VOCABULARY = "vocabulary.json"
WEIGHTS = "best.safetensors"
SCORES = "test_scores.npy"
CAPTION_IMAGE = "test_caption_image.npy"  # where images differ in captions
IMPORT = "import.json"  # in the folders of imported weights alone
CONFIGURATION = "config.json"  # the first file of a run
ERROR = "error.txt"  # the end of a traceback, where the run's notebook has failed
FILES = "files.json"  # the SHA-256 of those of `NOTED` that the run has
NOTED = (CONFIGURATION, VOCABULARY, WEIGHTS, SCORES, CAPTION_IMAGE, COMPLETE)  # decide its numbers
MEANS = ("i2t_median", "i2t_mean", "t2i_median", "t2i_mean")  # of ranks
CONFIG = {"dataset": str, "feature_width": int, "region_count": int, "seed": int, "recipe": dict}
OPTIONAL = {  # of a configuration
    **dict.fromkeys(("fingerprint", "word_vectors", "regulator_source", "boxes"), str | None),
    **dict.fromkeys(("features", "bert", "imported", "shipped"), dict | None),
    "ragged_regions": bool | None,
}
TEXTS = {"name": str, "paper": str}  # of a recipe, whose other parts are settings
MAX_SIZE = 10**6  # columns of the features, or regions of an image


class RunState(StrEnum):
    """What the folder of a run holds."""

    EMPTY = "empty"  # no configuration: nothing was trained or imported
    INTERRUPTED = "interrupted"  # training was started and can be resumed
    FAILED = "failed"  # it ended with an error, and can be resumed
    IMPORTED = "imported"  # weights of a checkpoint, without scores of a test split
    FINISHED = "finished"  # weights, scores and metrics, trained or imported


STATES = {  # the first of these files that exists decides
    COMPLETE: RunState.FINISHED,
    IMPORT: RunState.IMPORTED,
    ERROR: RunState.FAILED,
    CONFIGURATION: RunState.INTERRUPTED,
}


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run; files are read on first use."""

    folder: Path

    @property
    def state(self) -> RunState:
        """The state of its folder now, from the names of its files."""
        for file, state in STATES.items():
            if (self.folder / file).exists():
                return state
        return RunState.EMPTY

    @property
    def place(self) -> str:
        """The folder relative to the store: ``dataset/recipe/seed-hash``."""
        return "/".join(self.folder.parts[-3:])

    @cached_property
    def files(self) -> dict[str, str]:
        """The SHA-256 of the files that decide the run's numbers; of former runs empty."""
        path = self.folder / FILES
        note = read_json(path) if path.exists() else {}
        wrong = [n for n, it in note.items() if not re.fullmatch("[0-9a-f]{64}", str(it))]
        wrong += sorted(note.keys() - {*NOTED})
        present = [n for n in NOTED if path.exists() and (self.folder / n).exists()]
        if wrong or {*present} - note.keys():
            raise InputError(
                "not a note of a run's files",
                file=path,
                expected=f"a SHA-256 for each of {', '.join(present)}",
                found=repr(wrong[0]) if wrong else f"one for {', '.join(note) or 'none of them'}",
                remedy=self.repair,
            )
        return note

    def file(self, name: str) -> Path:
        """Return the path of a file; raises `InputError` where `files` names another content."""
        path, expected = self.folder / name, self.files.get(name)
        if expected is not None and path.exists():  # a missing file is reported by its reader
            problem = "not the file that this run was finished with"
            require_sha256(path, expected, problem, f"put that file back, or {self.repair}")
        return path

    def require_whole(self) -> None:
        """Raise `InputError` where a finished run is damaged; weights and scores are not read."""
        require_config(self, CONFIG)
        if wrong := _wrong_number(self.metrics):
            raise InputError(f"no proper {wrong}", file=self.folder / COMPLETE, remedy=self.repair)
        for name in self.files:
            with reading(self.folder / name), (self.folder / name).open("rb"):
                pass
        str(self.words_found)

    @property
    def damage(self) -> str:
        """What `require_whole` says; empty for a whole run."""
        try:
            self.require_whole()
        except InputError as error:
            return str(error)
        return ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dataset, recipe and seed."""
        return read_json(self.file(CONFIGURATION))

    @property
    def imported(self) -> Mapping[str, Any] | None:
        """File and SHA-256 of the checkpoint that the weights are from; None when trained here."""
        return self.config.get("imported")

    @property
    def again(self) -> str:
        """How to recreate the folder, for remedies in messages."""
        imported = (self.folder / IMPORT).exists()
        return "import the checkpoint again" if imported else "train the run again"

    @property
    def repair(self) -> str:
        """What to do about a damaged folder, for remedies in messages."""
        return f"delete {self.folder} and {self.again}"

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, commit, and the seconds that the run took."""
        return read_json(self.folder / "environment.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Retrieval numbers of the test split (percent; ranks from 1) with their intervals."""
        return read_json(self.file(COMPLETE))

    @property
    def seed(self) -> int:
        """The seed of weights and batches; 0 for imported weights without one."""
        return self.config["seed"]

    @property
    def words_found(self) -> str:
        """What is said of word vectors: how many words have one; empty for a run without."""
        if not self.config["recipe"]["encoder"].get("word_vectors") or self.imported:
            return ""
        try:
            vectors = self.environment["word_vectors"]
            share = 100 * vectors["found"] / max(vectors["words"], 1)
            return f"{share:.1f} % of {vectors['words']} words in {vectors['file']}"
        except (KeyError, TypeError):
            raise InputError(
                "no numbers of the word vectors",
                file=self.folder / "environment.json",
                expected="word_vectors with file, words and found",
                remedy=self.repair,
            ) from None


def note_files(folder: Path, metrics: Path | None = None) -> None:
    """Write `FILES` of a run; ``metrics`` is the file that becomes its `COMPLETE`."""
    paths = {name: folder / name for name in NOTED} | ({COMPLETE: metrics} if metrics else {})
    write_json(folder / FILES, {n: sha256(path) for n, path in paths.items() if path.exists()})


def _wrong_number(metrics: Mapping[str, Any]) -> str:
    """Return the name of a number that no report of retrieval gives; empty if there is none."""
    ends = metrics.get("intervals")
    for name in NUMBERS:
        pair = ends.get(name) if isinstance(ends, dict) else None
        if not isinstance(pair, list) or len(pair) != 2:
            return f"interval of {name}"
        value: Any = metrics.get(name)
        if any(type(x) not in (int, float) or not abs(x) <= 1200 for x in (value, *pair)):
            return name  # the ends of former intervals may be a little outside
        if not 0 <= value <= 600:
            return name
    texts = ("intervals", "interval_method", "captions_per_image")
    others = [name for name in (*MEANS, *metrics) if name not in texts]
    return next((n for n in others if type(metrics.get(n)) not in (int, float)), "")


def require_config(run: RunFolder, parts: Mapping[str, type]) -> None:
    """Raise `InputError` unless a run's configuration has these parts, each of its type."""
    config = run.config
    missing = [n for n, kind in parts.items() if type(config.get(n)) is not kind or config[n] == ""]
    sizes = [name for name in parts if type(config.get(name)) is int and name != "seed"]
    missing += [name for name in sizes if not 0 < config[name] <= MAX_SIZE]
    missing += [n for n, kind in OPTIONAL.items() if not isinstance(config.get(n, None), kind)]
    missing += [] if missing or 0 <= config["seed"] < SEEDS else ["seed"]
    if not missing:
        recipe = {"name": None, "encoder": None} | config["recipe"]
        wrong = [n for n, it in recipe.items() if not isinstance(it, TEXTS.get(n, dict))]
        missing = [f"{name} of the recipe" for name in wrong]
    if missing:
        raise damaged_config(run, missing)


def damaged_config(run: RunFolder, missing: Sequence[str]) -> InputError:
    """Return the error to raise for a configuration without some of its parts."""
    return InputError(
        "the configuration is damaged",
        file=run.folder / CONFIGURATION,
        found=f"no proper {', '.join(missing)}",
        remedy=run.repair,
    )
