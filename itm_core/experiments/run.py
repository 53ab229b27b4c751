"""One run, read lazily from its folder.

The folder of an imported checkpoint may have no vocabulary, and has no scores until it is scored on
a dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from itm_core.data.arrays import array
from itm_core.data.vocabulary import Vocabulary
from itm_core.data.word_pieces import WordPieces
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.experiments import recipes
from itm_core.experiments.prepare import Words, build, load_word_vectors
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.run_folder import (
    CAPTION_IMAGE,
    CONFIG,
    CONFIGURATION,
    IMPORT,
    SCORES,
    VOCABULARY,
    WEIGHTS,
    RunFolder,
    RunState,
    require_config,
)
from itm_core.experiments.weights import load_matcher
from itm_core.files import read_csv
from itm_core.models import Matcher

CURVE = ("epoch", "loss", "rsum", "seconds")


@dataclass(frozen=True)
class Run(RunFolder):
    """A finished run, or imported weights; files are read from the folder on first use."""

    @cached_property
    def curve(self) -> pd.DataFrame:
        """One row per epoch: loss, development recalls, seconds; none for imported weights."""
        if self.imported:
            return pd.DataFrame(columns=list(CURVE), dtype=float)
        path = self.folder / "curve.csv"
        curve = read_csv(path, remedy=self.repair)
        try:
            numbers = curve[list(CURVE)].to_numpy(float)
            damage = "" if np.isfinite(numbers).all() else "values that are not finite"
            if (np.diff(numbers[:, 0]) <= 0).any():
                damage = "epochs that are not in ascending order"
        except (ValueError, KeyError) as error:
            damage = str(error)
        if damage:
            raise InputError(
                "not a learning curve",
                file=path,
                expected=f"numbers in the columns {', '.join(CURVE)}",
                found=damage,
                remedy=self.repair,
            )
        return curve

    @cached_property
    def scores(self) -> np.ndarray:
        """``[I, C]`` float32 scores of the test split."""
        scores = np.array(array(self.file(SCORES), ("I", "C"), "float32"))
        if not np.isfinite(scores).all():
            raise InputError("a score is not finite", file=self.folder / SCORES, remedy=self.repair)
        return scores

    @cached_property
    def caption_image(self) -> np.ndarray:
        """``[C]`` the image of each caption of the test split."""
        varied = CAPTION_IMAGE in self.files or (self.folder / CAPTION_IMAGE).exists()
        images = array(self.file(CAPTION_IMAGE), ("C",), "int64") if varied else None
        return retrieval.image_of_captions(self.scores, images)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run followed; raises `InputError` for settings that do not fit."""
        try:
            return recipes.from_dict(self.config["recipe"])
        except InputError as error:
            raise InputError(
                f"the recipe cannot be read: {error}",
                file=self.folder / CONFIGURATION,
                remedy=self.repair,
            ) from None

    @cached_property
    def vocabulary(self) -> Words:
        """The vocabulary of the run."""
        if self.recipe.encoder.text_encoder == "bert":
            return WordPieces(self.recipe.encoder.bert)
        return Vocabulary.load(self.file(VOCABULARY))

    def matcher(self, device: str = "cpu") -> Matcher:
        """Return the matcher of the best epoch, in evaluation mode.

        Raises `InputError` when its checkpoint is missing, is not the one in `files`, or does not
        fit the recipe.
        """
        matcher = load_matcher(self.file(WEIGHTS), self._built(), again=self.again)
        return matcher.to(pick_device(device))

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

    def _built(self) -> Matcher:
        return build(self.recipe, self.config, None if self.imported else self.vocabulary)


def load(folder: Path | str) -> Run:
    """Return the finished run, or the imported weights, in ``folder``.

    Raises `InputError` when there is no run, and for an incomplete configuration.
    """
    run = Run(Path(folder))
    if run.state is RunState.FINISHED:
        run.require_whole()
        return run
    if run.state is RunState.IMPORTED:
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
