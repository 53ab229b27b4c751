"""One run, read lazily from its folder.

`runs` writes these folders and lists their files. The folder of an imported checkpoint may have
no vocabulary, and has no scores until it is scored on a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from itm_core.data.vocabulary import Vocabulary
from itm_core.data.word_pieces import WordPieces
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes
from itm_core.experiments.prepare import Words, build, load_word_vectors
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.weights import load_matcher
from itm_core.files import read_json, reading
from itm_core.models import Matcher

COMPLETE = "metrics.json"
VOCABULARY = "vocabulary.json"
WEIGHTS = "best.safetensors"
SCORES = "test_scores.npy"
CAPTION_IMAGE = "test_caption_image.npy"  # where images differ in captions
IMPORT = "import.json"  # in the folders of imported weights alone
CONFIGURATION = "config.json"  # the first file of a run
ERROR = "error.txt"  # the end of a traceback, where the run's notebook has failed
CURVE = ("epoch", "loss", "rsum", "seconds")
CONFIG = {"dataset": str, "feature_width": int, "region_count": int, "seed": int, "recipe": dict}


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
class Run:
    """A finished run, or imported weights; files are read from the folder on first use."""

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
        """Retrieval numbers of the test split (percent; ranks from 1) with their intervals."""
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
        """``[I, C]`` float32 scores of the test split."""
        path = self.folder / SCORES
        with reading(path):
            return np.load(path)

    @cached_property
    def caption_image(self) -> np.ndarray:
        """``[C]`` the image of each caption of the test split."""
        path = self.folder / CAPTION_IMAGE
        return retrieval.image_of_captions(self.scores, np.load(path) if path.exists() else None)

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
        """The vocabulary of the run."""
        if self.recipe.encoder.text_encoder == "bert":
            return WordPieces(self.recipe.encoder.bert)
        return Vocabulary.load(self.folder / VOCABULARY)

    def matcher(self, device: str = "cpu") -> Matcher:
        """Return the matcher of the best epoch, in evaluation mode.

        Raises `InputError` when its checkpoint is missing or does not fit the recipe.
        """
        return load_matcher(self.folder / WEIGHTS, self._built(), again=self.again).to(
            pick_device(device)
        )

    def initial_matcher(self) -> Matcher:
        """Return the matcher as training initialised it, in evaluation mode, on the CPU.

        Of imported weights, which have no seed, that of seed 0.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # as a run does
            matcher = self._built().eval()
        if not self.imported:
            load_word_vectors(matcher, self.recipe, self.vocabulary)
        return matcher

    @property
    def words_found(self) -> str:
        """What is said of word vectors: how many words have one; empty for a run without."""
        if not self.config["recipe"]["encoder"].get("word_vectors") or self.imported:
            return ""
        vectors = self.environment["word_vectors"]
        share = 100 * vectors["found"] / max(vectors["words"], 1)
        return f"{share:.1f} % of {vectors['words']} words in {vectors['file']}"

    def _built(self) -> Matcher:
        return build(self.recipe, self.config, None if self.imported else self.vocabulary)


def load(folder: Path | str) -> Run:
    """Return the finished run, or the imported weights, in ``folder``.

    Raises `InputError` when there is no run, and for an incomplete configuration.
    """
    run = Run(Path(folder))
    if run.state in (RunState.FINISHED, RunState.IMPORTED):
        require_config(run, CONFIG)
        return run
    if run.state is RunState.EMPTY:
        found, remedy = "no run", "name the folder of a run (itm runs lists them)"
    elif run.imported:
        found = f"imported weights without {IMPORT}"
        remedy = f"delete {run.folder} and import the checkpoint again"
    else:
        found = "a run that was interrupted"
        remedy = "train it: the same command resumes where it stopped"
    raise InputError("no finished run here", file=run.folder, found=found, remedy=remedy)


def require_config(run: Run, parts: Mapping[str, type]) -> None:
    """Raise `InputError` unless a run's configuration has these parts, each of its type."""
    config = run.config
    missing = [name for name, kind in parts.items() if not isinstance(config.get(name), kind)]
    if not missing and not isinstance(config["recipe"].get("encoder"), dict):
        missing = ["encoder of the recipe"]
    if missing:
        raise damaged_config(run, missing)


def damaged_config(run: Run, missing: Sequence[str]) -> InputError:
    """Return the error to raise for a configuration without some of its parts."""
    return InputError(
        "the configuration is damaged",
        file=run.folder / CONFIGURATION,
        found=f"no proper {', '.join(missing)}",
        remedy=f"delete {run.folder} and {run.again}",
    )
