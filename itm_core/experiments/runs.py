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

Asking for a run that exists loads it; one that was cut off resumes from ``state.pt``. What is in
the folder of one run is read by `run.Run`.
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
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from itm_core.data.dataset import Dataset, Split, load_dataset
from itm_core.data.feature_notes import features_of_folder
from itm_core.data.word_pieces import WordPieces
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.attention_quality import AttentionQuality, attention_quality
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import prepare, recipes
from itm_core.experiments.former_names import with_former_names
from itm_core.experiments.prepare import Words, build, encode, features_of, training_pairs, words_of
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.run import COMPLETE, Run, load
from itm_core.experiments.weights import load_matcher, save_matcher
from itm_core.files import make_folder, whole_file, write_json
from itm_core.models import Matcher
from itm_core.regulators import fingerprint
from itm_core.settings import at_least, instance, seed_of, texts
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup
from itm_core.training.trainer import Trainer

ROOT = Path("data/runs")


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
    text = json.dumps(
        config | {"recipe": with_former_names(_chosen(config["recipe"]))}, sort_keys=True
    ).encode()
    name = f"{config['seed']}-{hashlib.sha256(text).hexdigest()[:12]}"
    return Path(root) / config["dataset"] / config["recipe"]["name"] / name


def _chosen(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that are not the defaults of their parts.

    A setting that is added later, with what was done before as its default, then leaves the
    names of runs as they are.
    """
    made = recipes.from_dict(recipe)
    plain, recipe = recipes.defaults(made), made.to_dict()
    return {
        part: {k: v for k, v in values.items() if plain[part].get(k) != v}
        if isinstance(values, dict)
        else values
        for part, values in recipe.items()
    }


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
    group: ProcessGroup = SINGLE_PROCESS,
) -> Run:
    """Return the run of a recipe on a dataset, training it unless it is there already.

    Args:
        dataset: a loaded dataset, or a folder in the SCAN layout.
        recipe: a recipe or its name (`recipes.names`).
        seed: of weights and batches, as `settings.seed_of` takes it.
        overrides: changes of the recipe such as ``training.epochs=3``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        progress: show a bar with loss, rSum and time left.
        team: the processes that train it together, each of which calls this
            (`distributed.process_group`). The run is the same, whatever their number.

    Raises `InputError` for a wrong argument or bad data, before a folder is made.
    """
    seed = seed_of(seed)
    _check(dataset, root, progress)
    instance("recipe", recipe, Recipe, str)
    recipe = recipes.get(recipe) if isinstance(recipe, str) else recipe
    recipe = recipe.replace(*texts("overrides", overrides))
    where = _device_for(recipe, device)
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    config = configuration(data, recipe, seed)
    folder = folder_of(config, root)
    if group.broadcast((folder / COMPLETE).exists()):
        return Run(folder)
    prepare.require_known_words(data, recipe, report=group.first)
    make_folder(folder)
    try:
        with FileLock(folder / ".lock", timeout=0) if group.first else nullcontext():
            if not group.broadcast((folder / COMPLETE).exists()):
                _train(data, recipe, config, folder, where, progress, group)
    except Timeout:
        raise InputError(
            "this run is being trained by another process",
            file=folder,
            remedy="wait for it, or stop it and ask again",
        ) from None
    return Run(folder)


def _check(dataset: object, root: object, progress: object) -> None:
    instance("dataset", dataset, Dataset, os.PathLike, str)
    instance("root", root, os.PathLike, str)
    if not str(root):
        raise InputError("root has no name", expected="the folder of the run store", found="''")
    instance("progress", progress, bool)


def _device_for(recipe: Recipe, device: str) -> torch.device:
    where = pick_device(device)
    if recipe.training.precision not in ("float32", "float64") and where.type != "cuda":
        raise InputError(
            "mixed precision needs CUDA",
            found=f"device {where}",
            remedy="use training.precision=float32",
        )
    return where


def _train(
    data: Dataset,
    recipe: Recipe,
    config: dict[str, Any],
    folder: Path,
    device: torch.device,
    progress: bool,
    group: ProcessGroup,
) -> None:
    vocabulary = words_of(data, recipe)
    if group.first:
        write_json(folder / "config.json", config)
        vocabulary.save(folder / "vocabulary.json")
    environment = describe(device, group.size)
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
        group=group,
    )
    curve = pd.DataFrame(trainer.run().curve)
    if group.first:
        save_matcher(trainer.evaluated, folder / "last.safetensors")
        with whole_file(folder / "curve.csv") as partial:
            curve.to_csv(partial, index=False)
        environment["seconds_training"] = round(float(curve["seconds"].sum()), 2)
        best = load_matcher(folder / "best.safetensors", matcher)
        score_test_split(data, recipe, best, folder, progress)
        environment["seconds_since_start"] = round(time.monotonic() - started, 2)
        write_json(folder / "environment.json", environment)
        write_metrics(data, recipe, best, folder)
    group.broadcast(None)  # the others wait until the run is whole


def write_metrics(data: Dataset, recipe: Recipe, best: Matcher, folder: Path) -> None:
    """Write the numbers of the test split to a run's folder, the last of its files."""
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
        return retrieval.metrics(scores, captions_per_image=dev.captions_per_image).flat()

    return score


def _quality(
    matcher: Matcher, split: Split, vocabulary: Words, recipe: Recipe
) -> AttentionQuality | None:
    """Return the attention quality; None where words come in pieces, which no box is known for."""
    if isinstance(vocabulary, WordPieces):
        return None
    return attention_quality(matcher, split, vocabulary, features_of(split, recipe))


def score_test_split(
    data: Dataset, recipe: Recipe, matcher: Matcher, folder: Path, progress: bool
) -> None:
    """Write the scores of the test split to a run's folder."""
    captions = encode(data.test, words_of(data, recipe))
    scores = score_matrix(matcher, features_of(data.test, recipe), captions, progress=progress)
    with whole_file(folder / "test_scores.npy") as partial, partial.open("wb") as file:
        np.save(file, scores)


@dataclass(frozen=True)
class Spec:
    """One run to be made: the arguments of `train_or_load` that differ, checked as there."""

    recipe: str
    seed: int = 0
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        instance("recipe", self.recipe, str)
        object.__setattr__(self, "seed", seed_of(self.seed))
        object.__setattr__(self, "overrides", texts("overrides", self.overrides))


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

    Raises `InputError` for a wrong argument, or the first error of a run after all have ended.
    """
    specs = list(specs)
    _check(dataset, root, progress)
    at_least("workers", 1 if workers is None else workers, 1)
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
