"""One run, read lazily from its folder.

`runs` writes these folders and lists their files. The folders of imported checkpoints have no
vocabulary until they are used with a dataset, and no scores until they are scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from itm_core.data.dataset import vocabulary_file
from itm_core.data.vocabulary import Vocabulary
from itm_core.data.word_pieces import WordPieces
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.prepare import Words, build
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.weights import load_matcher
from itm_core.files import read_json, reading
from itm_core.models import Matcher

COMPLETE = "metrics.json"
VOCABULARY = "vocabulary.json"
WEIGHTS = "best.safetensors"
SCORES = "test_scores.npy"
IMPORT = "import.json"  # in the folders of imported weights alone
CONFIGURATION = "config.json"  # the first file of a run
ERROR = "error.txt"  # the end of a traceback, where the run's notebook has failed
CURVE = ("epoch", "loss", "rsum", "seconds")
CONFIG = {"dataset": str, "feature_width": int, "region_count": int, "seed": int, "recipe": dict}
IMPORTED_CONFIG = CONFIG | {"embedding_rows": int, "imported": dict}  # of imported weights


class RunState(StrEnum):
    """What the folder of a run holds."""

    EMPTY = "empty"  # no configuration: nothing was trained or imported
    INTERRUPTED = "interrupted"  # training was started and can be resumed
    FAILED = "failed"  # it ended with an error, and can be resumed
    IMPORTED = "imported"  # weights of a checkpoint, without scores of a test split
    FINISHED = "finished"  # weights, scores and metrics, trained or imported


def state_of(folder: Path) -> RunState:
    """Return the state of the folder of a run, from the names of its files."""
    if (folder / COMPLETE).exists():
        return RunState.FINISHED
    if (folder / IMPORT).exists():
        return RunState.IMPORTED
    if (folder / ERROR).exists():
        return RunState.FAILED
    return RunState.INTERRUPTED if (folder / CONFIGURATION).exists() else RunState.EMPTY


@dataclass(frozen=True)
class Run:
    """A finished run, or imported weights; files are read from the folder on first use.

    Attributes:
        words: the vocabulary of imported weights without one in their folder, see `load`.
    """

    folder: Path
    words: Vocabulary | None = None

    @property
    def state(self) -> RunState:
        """The state of its folder now."""
        return state_of(self.folder)

    @property
    def error(self) -> str:
        """The last line of ``error.txt``; empty when there is no such file."""
        try:
            text = (self.folder / ERROR).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            return type(error).__name__
        lines = [line.strip() for line in text.split("\n")]
        return next(filter(None, reversed(lines)), "no reason given")

    @property
    def place(self) -> str:
        """The folder relative to the store: ``dataset/recipe/seed-hash``."""
        return "/".join(self.folder.parts[-3:])

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dataset, recipe and seed."""
        return read_json(self.folder / CONFIGURATION)

    @property
    def imported(self) -> Mapping[str, Any] | None:
        """File and SHA-256 of the checkpoint that the weights are from; None when trained here."""
        return self.config.get("imported")

    @property
    def again(self) -> str:
        """How to recreate the folder, for remedies in messages."""
        imported = (self.folder / IMPORT).exists()
        return "import the checkpoint again" if imported else "train the run again"

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, commit, and the seconds that the run took."""
        return read_json(self.folder / "environment.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Retrieval numbers of the test split (percent; ranks from 1) with their intervals.

        Raises `InputError` for imported weights that were not scored on a dataset.
        """
        self._require_scores()
        return read_json(self.folder / COMPLETE)

    @cached_property
    def curve(self) -> pd.DataFrame:
        """One row per epoch: loss, development recalls, seconds; none for imported weights."""
        if self.imported:
            return pd.DataFrame(columns=list(CURVE), dtype=float)
        path = self.folder / "curve.csv"
        with reading(path):
            return pd.read_csv(path)

    @cached_property
    def scores(self) -> np.ndarray:
        """``[I, C]`` float32 scores of the test split; raises as `metrics` does."""
        self._require_scores()
        path = self.folder / SCORES
        with reading(path):
            return np.load(path)

    def _require_scores(self) -> None:
        if self.state is not RunState.FINISHED and self.imported:
            raise InputError(
                "imported weights have no scores of a test split",
                file=self.folder,
                remedy="use imported_runs.scored(folder, dataset), or `itm score` for the scores",
            )

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run followed."""
        return recipes.from_dict(self.config["recipe"])

    @property
    def seed(self) -> int:
        """The seed of weights and batches; 0 for imported weights without one."""
        return self.config["seed"]

    @cached_property
    def vocabulary(self) -> Words:
        """The vocabulary of the run.

        Raises `InputError` for imported weights that were loaded without one.
        """
        if self.words is not None:
            return self.words
        if self.recipe.encoder.text_encoder == "bert":
            return WordPieces(str(self.recipe.encoder.bert))
        if self.imported and not (self.folder / VOCABULARY).exists():
            raise InputError(
                "imported weights have no vocabulary",
                file=self.folder,
                remedy="import with --vocabulary FILE, or use runs.load(folder, dataset=...)",
            )
        return Vocabulary.load(self.folder / VOCABULARY)

    def matcher(self, device: str = "cpu") -> Matcher:
        """Return the matcher of the best epoch, in evaluation mode.

        Raises `InputError` when its checkpoint is missing or does not fit the recipe.
        """
        fresh = build(self.recipe, self.config, None if self.imported else self.vocabulary)
        return load_matcher(self.folder / WEIGHTS, fresh, again=self.again).to(pick_device(device))

    def weights_hash(self) -> str:
        """Return the SHA-256 of the file of the weights; raises `InputError` when it is missing."""
        path = self.folder / WEIGHTS
        remedy = f"delete {self.folder} and {self.again}"
        with reading(path, "checkpoint not found", remedy), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def load(
    folder: Path | str,
    *,
    dataset: Path | str | None = None,
    vocabulary: Path | None = None,
) -> Run:
    """Return the finished run, or the imported weights, in ``folder``.

    Args:
        dataset: a folder in the SCAN layout; the vocabulary file of imported
            weights that have none.
        vocabulary: a vocabulary file that replaces both; for imported weights only.

    Raises `InputError` when there is no run, for an incomplete configuration, and for a
    vocabulary whose size is not that of the imported word embedding.
    """
    folder = Path(folder)
    run = Run(folder)
    if (folder / IMPORT).exists():
        _require_config(run, IMPORTED_CONFIG)
        return _with_words(run, dataset, vocabulary)
    if run.state is RunState.FINISHED:
        if vocabulary is None:
            _require_config(run, CONFIG)
            return run
        raise InputError(
            "a run that was trained here has its own vocabulary",
            file=folder,
            found=f"vocabulary {vocabulary}",
            remedy="leave the vocabulary out; it is for imported checkpoints",
        )
    if run.state is RunState.EMPTY:
        found, remedy = "no run", "name the folder of a run (itm runs lists them)"
    elif run.imported:
        found = f"imported weights without {IMPORT}"
        remedy = f"delete {folder} and import the checkpoint again"
    else:
        found = "a run that was interrupted"
        remedy = "train it: the same command resumes where it stopped"
    raise InputError("no finished run here", file=folder, found=found, remedy=remedy)


def _require_config(run: Run, parts: Mapping[str, type]) -> None:
    """Raise `InputError` unless a run's configuration has these parts, each of its type."""
    config = run.config
    missing = [name for name, kind in parts.items() if not isinstance(config.get(name), kind)]
    if not missing and not isinstance(config["recipe"].get("encoder"), dict):
        missing = ["encoder of the recipe"]
    if (
        not missing
        and "imported" in parts
        and not isinstance(config["imported"].get("spare_rows"), list)
    ):
        missing = ["spare_rows of what is imported"]
    if missing:
        raise InputError(
            "the configuration is damaged",
            file=run.folder / CONFIGURATION,
            found=f"no proper {', '.join(missing)}",
            remedy=f"delete {run.folder} and {run.again}",
        )


def load_members(
    folders: Sequence[Path | str],
    *,
    dataset: Path | str | None = None,
    vocabulary: Path | None = None,
) -> list[Run]:
    """Return the runs in several folders; a vocabulary is for the imported ones among them.

    Raises `InputError` as `load` does, and for a folder that is named twice.
    """
    paths = [Path(folder).resolve() for folder in folders]
    repeated = next((path for k, path in enumerate(paths) if path in paths[:k]), None)
    if repeated is not None:
        raise InputError("this run is named twice", file=repeated, remedy="name each member once")
    imported = [(path / IMPORT).exists() for path in paths]
    return [  # where none is imported, the first refuses the vocabulary
        load(folder, dataset=dataset, vocabulary=vocabulary if use or not any(imported) else None)
        for folder, use in zip(folders, imported, strict=True)
    ]


def _with_words(run: Run, dataset: Path | str | None, vocabulary: Path | None) -> Run:
    """Return imported weights with the vocabulary of ``vocabulary``, the run, or the dataset."""
    path = vocabulary
    if path is None and not (run.folder / VOCABULARY).exists() and dataset is not None:
        if not Path(dataset).is_dir():
            remedy = "name a folder in the SCAN layout"
            raise InputError("no dataset here", file=dataset, found="no folder", remedy=remedy)
        path = vocabulary_file(dataset)
        if path is None:  # one built from captions has other ids than the authors' had
            raise InputError(
                "neither the checkpoint nor the dataset has a vocabulary file",
                file=dataset,
                expected="the file that the authors ship: ids mean nothing without it",
                remedy="name it with --vocabulary FILE, or put it here as vocab.json",
            )
    if path is None:
        return run
    words = Vocabulary.load(path)
    check_vocabulary(run.config, words, path)
    return Run(run.folder, words)


def check_vocabulary(config: Mapping[str, Any], words: Vocabulary, path: Path | None) -> None:
    """Raise `InputError` unless imported weights have one embedding row for each word.

    Some releases have a row more, for ``<mask>``, which is in no vocabulary file.
    """
    rows, spare = config["embedding_rows"], config["imported"]["spare_rows"]
    if rows - len(words) in spare:
        return
    sizes = " or ".join(str(rows - more) for more in sorted(spare, reverse=True))
    mask = ", one of them for <mask>" if spare == [1] else ""
    raise InputError(
        "the vocabulary does not fit the checkpoint",
        file=path,
        expected=f"{sizes} words for the {rows} rows of the word embedding{mask}",
        found=f"{len(words)} words",
        remedy="name the vocabulary file that the authors ship with --vocabulary FILE",
    )
