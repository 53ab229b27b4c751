"""The run store: what was run, with what, where, and what came out.

A run is a folder ``ROOT/<dataset>/<recipe>/<seed>-<hash of the full configuration>/``:

====================  =====================================================================
``config.json``       dataset, its fingerprint, recipe, seed: what the hash is made of
``environment.json``  versions, device, commit, seconds
``curve.csv``         one row per epoch
``best.safetensors``  the epoch with the largest development rSum; ``last.safetensors`` beside
``vocabulary.json``   the vocabulary that the words were looked up in
``test_scores.npy``   ``[I, C]`` scores of the test split
``metrics.json``      retrieval numbers with intervals; written last: a run that has it is whole
====================  =====================================================================

Asking for a run that exists loads it; one that was cut off resumes from ``state.pt``.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from itm_core import recipes, retrieval
from itm_core.attention_quality import AttentionQuality, attention_quality
from itm_core.data.feature_notes import features_of_folder
from itm_core.data.precomp import Dataset, Split, load_dataset
from itm_core.data.vocabulary import Vocabulary
from itm_core.data.word_pieces import WordPieces
from itm_core.distributed import ALONE, Team
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.files import read_json, whole_file, write_json
from itm_core.inputs import Words, build, encode, features_of, training_pairs, words_of
from itm_core.matchers import Matcher
from itm_core.recipes import Recipe
from itm_core.regulators import fingerprint
from itm_core.scoring import score_matrix
from itm_core.training import Trainer

ROOT = Path("data/runs")
COMPLETE = "metrics.json"


@dataclass(frozen=True)
class Run:
    """One finished run; everything is read from its folder when it is asked for."""

    folder: Path

    @property
    def place(self) -> str:
        """Its folder below the store: ``dataset/recipe/seed-hash``."""
        return "/".join(self.folder.parts[-3:])

    @cached_property
    def config(self) -> dict[str, Any]:
        """Dataset, recipe and seed."""
        return read_json(self.folder / "config.json")

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
        """One row per epoch: loss, development recalls, seconds."""
        return pd.read_csv(self.folder / "curve.csv")

    @cached_property
    def scores(self) -> np.ndarray:
        """``[I, C]`` float32 scores of the test split."""
        return np.load(self.folder / "test_scores.npy")

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the run followed."""
        return recipes.from_dict(self.config["recipe"])

    @property
    def seed(self) -> int:
        """The seed of weights and batches."""
        return self.config["seed"]

    @cached_property
    def vocabulary(self) -> Words:
        """The vocabulary that the run's words were looked up in."""
        if self.recipe.encoder.words == "bert":
            return WordPieces(str(self.recipe.encoder.bert))
        return Vocabulary.load(self.folder / "vocabulary.json")

    def matcher(self, device: str = "cpu") -> Matcher:
        """Return the matcher of the best epoch, in evaluation mode.

        Raises `InputError` when its checkpoint is missing or does not fit the recipe.
        """
        fresh = build(self.recipe, self.config, self.vocabulary)
        return load_matcher(self.folder / "best.safetensors", fresh).to(pick_device(device))


def load_matcher(path: Path, matcher: Matcher) -> Matcher:
    """Return ``matcher`` with the weights in ``path``, in evaluation mode."""
    try:
        matcher.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError("checkpoint not found", file=path) from None
    except Exception as error:  # safetensors and torch raise many kinds for a damaged file
        raise InputError(
            "the checkpoint does not fit",
            file=path,
            found=str(error).strip().split("\n")[0],
            remedy=f"delete {path.parent} and train the run again",
        ) from error
    return matcher.eval()


def save_matcher(matcher: Matcher, path: Path) -> None:
    """Write the matcher's weights as safetensors, whole or not at all."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in matcher.state_dict().items()}
    with whole_file(path) as partial:
        save_file(weights, partial)


def configuration(dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return everything that decides what a run computes, ready for JSON."""
    own, features = fingerprint(recipe.regulator.kind), features_of_folder(dataset.folder)
    noted = {"regulator_source": own, "features": features}
    return {name: value for name, value in noted.items() if value is not None} | {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "feature_width": int(dataset.train.regions.shape[2]),
        "region_count": int(dataset.train.regions.shape[1]),
        "seed": seed,
        "recipe": recipe.to_dict(),
    }


def folder_of(config: dict[str, Any], root: Path | str = ROOT) -> Path:
    """Return the folder where the run of ``config`` lives."""
    text = json.dumps(config | {"recipe": _chosen(config["recipe"])}, sort_keys=True).encode()
    name = f"{config['seed']}-{hashlib.sha256(text).hexdigest()[:12]}"
    return Path(root) / config["dataset"] / config["recipe"]["name"] / name


def _chosen(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that are not the defaults of their parts.

    A setting that is added later, with what was done before as its default, then leaves the
    names of runs as they are.
    """
    plain = recipes.defaults(recipes.from_dict(recipe))
    return {
        part: {k: v for k, v in values.items() if plain[part].get(k) != v}
        if isinstance(values, dict)
        else values
        for part, values in recipe.items()
    }


def load(folder: Path | str) -> Run:
    """Return the finished run in ``folder``; raises `InputError` when there is none."""
    folder = Path(folder)
    if not (folder / COMPLETE).exists():
        state = "a run that was cut off" if (folder / "config.json").exists() else "no run"
        raise InputError(
            "no finished run here",
            file=folder,
            found=state,
            remedy="train it: the same command resumes where it stopped",
        )
    return Run(folder)


def all_runs(root: Path | str = ROOT) -> list[Run]:
    """Return every finished run below ``root``, sorted by folder."""
    return [Run(path.parent) for path in sorted(Path(root).glob(f"*/*/*/{COMPLETE}"))]


def train_or_load(
    dataset: Dataset | Path | str,
    recipe: Recipe | str,
    *,
    seed: int = 0,
    device: str = "auto",
    root: Path | str = ROOT,
    overrides: Sequence[str] = (),
    progress: bool = True,
    team: Team = ALONE,
) -> Run:
    """Return the run of a recipe on a dataset, training it unless it is there already.

    Args:
        dataset: a loaded dataset, or a folder in the SCAN layout.
        recipe: a recipe or its name (`recipes.names`).
        overrides: changes of the recipe such as ``training.epochs=3``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show a bar with loss, rSum and time left.
        team: the processes that train it together, each of which calls this
            (`distributed.joined`). The run is the same, whatever their number.

    Raises `InputError` for bad data, settings or devices, before anything is trained.
    """
    recipe = recipes.get(recipe) if isinstance(recipe, str) else recipe
    recipe = recipe.replace(*overrides)
    where = pick_device(device)
    if recipe.training.precision not in ("float32", "float64") and where.type != "cuda":
        raise InputError(
            "mixed precision needs CUDA",
            found=f"device {where}",
            remedy="use training.precision=float32",
        )
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    config = configuration(data, recipe, seed)
    folder = folder_of(config, root)
    if team.told((folder / COMPLETE).exists()):
        return Run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0) if team.first else nullcontext():
            if not team.told((folder / COMPLETE).exists()):
                _train(data, recipe, config, folder, where, progress, team)
    except Timeout:
        raise InputError(
            "this run is being trained by another process",
            file=folder,
            remedy="wait for it, or stop it and ask again",
        ) from None
    return Run(folder)


def _train(
    data: Dataset,
    recipe: Recipe,
    config: dict[str, Any],
    folder: Path,
    device: torch.device,
    progress: bool,
    team: Team,
) -> None:
    vocabulary = words_of(data, recipe)
    if team.first:
        write_json(folder / "config.json", config)
        vocabulary.save(folder / "vocabulary.json")
    environment = describe(device, team.size)
    started = time.monotonic()
    torch.manual_seed(config["seed"])
    matcher = build(recipe, config, vocabulary).to(device)
    trainer = Trainer(
        matcher,
        training_pairs(data, recipe, vocabulary),
        recipe,
        seed=config["seed"],
        folder=folder,
        score_dev=dev_scorer(data, recipe),
        save=save_matcher,
        progress=progress,
        team=team,
    )
    curve = pd.DataFrame(trainer.run().curve)
    if team.first:
        save_matcher(trainer.evaluated, folder / "last.safetensors")
        with whole_file(folder / "curve.csv") as partial:
            curve.to_csv(partial, index=False)
        environment["seconds_training"] = round(float(curve["seconds"].sum()), 2)
        best = load_matcher(folder / "best.safetensors", matcher)
        _evaluate(data, recipe, best, folder, progress)
        environment["seconds_since_start"] = round(time.monotonic() - started, 2)
        write_json(folder / "environment.json", environment)
        _complete(data, recipe, best, folder)
    team.told(None)  # the others wait until the run is whole


def _complete(data: Dataset, recipe: Recipe, best: Matcher, folder: Path) -> None:
    """Write the numbers of the test split, the last of a run's files."""
    metrics = retrieval.report(
        np.load(folder / "test_scores.npy"), captions_per_image=data.test.captions_per_image
    )
    quality = _quality(best, data.test, words_of(data, recipe), recipe)
    write_json(folder / COMPLETE, metrics | (quality.flat() if quality else {}))
    (folder / "state.pt").unlink(missing_ok=True)


def dev_scorer(data: Dataset, recipe: Recipe) -> Any:
    """Return the function that gives a matcher's development numbers after each epoch."""
    dev, limit = data.dev, recipe.training.dev_images
    images = min(len(dev.regions), limit or len(dev.regions))
    captions = encode(dev, words_of(data, recipe))[: images * dev.captions_per_image]
    features = features_of(dev, recipe)

    def score(matcher: Matcher) -> dict[str, float]:
        scores = score_matrix(matcher, features[:images], captions)
        found = retrieval.metrics(scores, captions_per_image=dev.captions_per_image)
        return found.flat()

    return score


def _quality(
    matcher: Matcher, split: Split, vocabulary: Words, recipe: Recipe
) -> AttentionQuality | None:
    """Return the attention quality; None where words come in pieces, which no box is known for."""
    if isinstance(vocabulary, WordPieces):
        return None
    return attention_quality(matcher, split, vocabulary, features_of(split, recipe))


def _evaluate(
    data: Dataset, recipe: Recipe, matcher: Matcher, folder: Path, progress: bool
) -> None:
    captions = encode(data.test, words_of(data, recipe))
    scores = score_matrix(matcher, features_of(data.test, recipe), captions, progress=progress)
    with whole_file(folder / "test_scores.npy") as partial, partial.open("wb") as file:
        np.save(file, scores)


@dataclass(frozen=True)
class Spec:
    """One run to be made: the arguments of `train_or_load` that differ between runs."""

    recipe: str
    seed: int = 0
    overrides: tuple[str, ...] = ()


def train_many(
    dataset: Path | str,
    specs: Iterable[Spec],
    *,
    workers: int | None = None,
    device: str = "auto",
    root: Path | str = ROOT,
    progress: bool = True,
) -> list[Run]:
    """Return the runs of all ``specs``, trained side by side where they don't exist yet.

    Args:
        workers: processes; one for each core by default on a CPU, one on a GPU. Each takes its
            share of the cores, so that they don't slow one another down.

    Raises the first error of a run, after the others have finished.
    """
    specs = list(specs)
    places = {spec: _place(dataset, spec, root) for spec in specs}
    missing = [spec for spec, place in places.items() if not (place / COMPLETE).exists()]
    if missing:
        cores = os.cpu_count() or 1
        workers = workers or (cores if pick_device(device).type == "cpu" else 1)
        given = (device, str(root), max(1, cores // workers))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(_one, str(dataset), spec, *given) for spec in missing]
            for future in tqdm(futures, desc="runs", unit="run", disable=not progress):
                future.exception()
        _ = [future.result() for future in futures]
    return [load(places[spec]) for spec in specs]


def _place(dataset: Path | str, spec: Spec, root: Path | str) -> Path:
    recipe = recipes.get(spec.recipe).replace(*spec.overrides)
    return folder_of(configuration(_checked_once(str(dataset)), recipe, spec.seed), root)


@lru_cache(maxsize=1)
def _checked_once(dataset: str) -> Dataset:
    """Return a dataset that is read for the first run and kept for the others."""
    return load_dataset(dataset)


def _one(dataset: str, spec: Spec, device: str, root: str, threads: int) -> Path:
    torch.set_num_threads(threads)
    return train_or_load(
        _checked_once(dataset),
        spec.recipe,
        seed=spec.seed,
        device=device,
        root=root,
        overrides=spec.overrides,
        progress=False,
    ).folder
