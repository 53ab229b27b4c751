"""The run store: training runs and their results, one folder each.

A run is a folder ``ROOT/<dataset>/<recipe>/<seed>-<hash of the full configuration>/``:

====================  =====================================================================
``config.json``       dataset, its fingerprint, recipe, seed: the input of the hash
``environment.json``  versions, device, commit, seconds
``curve.csv``         one row per epoch
``best.safetensors``  the epoch with the largest development rSum; ``last.safetensors`` beside
``vocabulary.json``   the ids of the words; ``vocab.txt`` of a recipe with BERT
``test_scores.npy``   ``[I, C]`` scores of the test split; ``test_caption_image.npy`` where its
                      images differ in captions
``files.json``        the SHA-256 of the files that decide the run's numbers
``metrics.json``      retrieval numbers with intervals; written last, when a run is finished
====================  =====================================================================

`train_or_load` loads a finished run and resumes an interrupted one from ``state.pt``. `run.Run`
reads the folder of a run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from itm_core.data.dataset import Dataset, load_dataset
from itm_core.data.feature_notes import features_of_folder
from itm_core.data.word_pieces import bert_hashes
from itm_core.data.word_vectors import vectors_file
from itm_core.environment import describe, has_float64, pick_device
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.evaluate import dev_scorer, write_metrics, write_test_scores
from itm_core.experiments.former_names import with_former_names
from itm_core.experiments.prepare import Prepared, build, load_word_vectors, prepare
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.run import Run, load
from itm_core.experiments.run_folder import COMPLETE, ERROR, VOCABULARY, WEIGHTS
from itm_core.experiments.weights import load_matcher, save_matcher
from itm_core.files import locked, sha256, whole_file
from itm_core.json_files import write_json
from itm_core.parallel import cores, run_parallel
from itm_core.regulators import fingerprint
from itm_core.settings import at_least, instance, seed_of, texts
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup
from itm_core.training.trainer import Trainer

log = logging.getLogger(__name__)

ROOT = Path("data/runs")


def configuration(dataset: Dataset, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return everything that determines the result of a run, ready for JSON."""
    optional = {
        "regulator_source": fingerprint(recipe.regulator.kind),
        "features": features_of_folder(dataset.folder),
        "bert": _bert_of(recipe),
        "ragged_regions": True if dataset.ragged else None,
        "word_vectors": _word_vectors_of(recipe),
    }
    return {name: value for name, value in optional.items() if value is not None} | {
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "feature_width": int(dataset.train.regions.shape[2]),
        "region_count": dataset.region_count,
        "seed": seed,
        "recipe": recipe.to_dict(),
    }


def _bert_of(recipe: Recipe) -> dict[str, str] | None:
    """Return the SHA-256 of the files of a recipe's BERT; None for a recipe without."""
    encoder = recipe.encoder
    return bert_hashes(encoder.bert) if encoder.text_encoder == "bert" else None


def _word_vectors_of(recipe: Recipe) -> str | None:
    """Return the SHA-256 of a recipe's file of word vectors; None for a recipe without."""
    name = recipe.encoder.word_vectors
    return None if name is None else sha256(vectors_file(name))


def folder_of(config: dict[str, Any], root: Path | str = ROOT) -> Path:
    """Return the folder of the run with this configuration."""
    text = json.dumps(
        config | {"recipe": with_former_names(_non_default(config["recipe"]))}, sort_keys=True
    ).encode()
    name = f"{config['seed']}-{hashlib.sha256(text).hexdigest()[:12]}"
    return Path(root) / config["dataset"] / config["recipe"]["name"] / name


def _non_default(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a recipe that differ from the defaults of their parts.

    A setting that is added later, with the former behaviour as its default, then leaves the
    names of folders unchanged.
    """
    settings = recipes.from_dict(recipe)
    parts = {name: part.model_dump(exclude_defaults=True) for name, part in settings.parts.items()}
    return settings.to_dict() | parts


def load_trained(folder: Path) -> Run:
    """Return the finished run in a folder that `folder_of` names.

    Raises `InputError` when the folder is that of another run, which was copied or renamed.
    """
    run = load(folder)
    if folder_of(run.config | {"recipe": run.recipe.to_dict()}, folder.parents[2]) != folder:
        raise InputError(
            "another run has been put into this folder",
            file=folder,
            found=f"{run.recipe.name} on {run.config['dataset']}, seed {run.seed}",
            remedy=f"move it back to its own folder, or delete {folder} and train the run again",
        )
    return run


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
    """Return the run of a recipe on a dataset, training it unless it is finished already.

    Args:
        dataset: a loaded dataset, or a folder in the SCAN layout.
        recipe: a recipe or its name (`recipes.names`).
        seed: of weights and batches, as `settings.seed_of` takes it.
        overrides: changes of the recipe such as ``training.epochs=3``.
        device: ``auto``, ``cpu`` or another device of torch, as for `pick_device`.
        progress: show a bar with loss, rSum and remaining time.
        group: the processes that train together, each of which calls this function
            (`distributed.process_group`). The result does not depend on their number.

    Raises `InputError` for a wrong argument or bad data, before a folder is made.
    """
    seed = seed_of(seed)
    _check(dataset, root, progress)
    instance("recipe", recipe, Recipe, str)
    recipe = recipes.get(recipe) if isinstance(recipe, str) else recipe
    recipe = recipe.replace(*texts("overrides", overrides))
    chosen_device = _device_for(recipe, device)
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    config = configuration(data, recipe, seed)
    folder = folder_of(config, root)
    if group.broadcast((folder / COMPLETE).exists()):
        with suppress(OSError):  # of a process that was killed before it removed this
            (folder / "state.pt").unlink()
        return load_trained(folder)
    prepared = prepare(data, recipe)
    prepared.require_trainable(report=group.first)
    message = "this run is being trained by another process"
    lock = locked(folder / ".lock", message, "wait for it, or stop it and run the command again")
    with lock if group.first else nullcontext():
        if not group.broadcast((folder / COMPLETE).exists()):
            _train(prepared, recipe, config, folder, chosen_device, progress, group)
    return Run(folder)


def _check(dataset: object, root: object, progress: object) -> None:
    instance("dataset", dataset, Dataset, os.PathLike, str)
    instance("root", root, os.PathLike, str)
    if not str(root):
        raise InputError("root has no name", expected="the folder of the run store", found="''")
    instance("progress", progress, bool)


def _device_for(recipe: Recipe, device: str) -> torch.device:
    chosen, precision = pick_device(device), recipe.training.precision
    if precision == "float64" and not has_float64(chosen):
        if device != "auto":
            raise InputError(
                "this device has no float64",
                found=f"device {chosen}",
                remedy="use device cpu, or training.precision=float32",
            )
        log.info("%s has no float64: this run is trained on the CPU", chosen)
        return torch.device("cpu")
    if precision not in ("float32", "float64") and chosen.type != "cuda":
        raise InputError(
            "mixed precision needs CUDA",
            found=f"device {chosen}",
            remedy="use training.precision=float32",
        )
    return chosen


def _train(
    data: Prepared,
    recipe: Recipe,
    config: dict[str, Any],
    folder: Path,
    device: torch.device,
    progress: bool,
    group: ProcessGroup,
) -> None:
    environment = describe(device, group.size)
    started = time.monotonic()
    torch.manual_seed(config["seed"])
    matcher = build(recipe, config, data.vocabulary).to(device)
    if vectors := load_word_vectors(matcher, recipe, data.vocabulary):
        environment["word_vectors"] = vectors
    if group.first:
        (folder / ERROR).unlink(missing_ok=True)  # of an earlier attempt
        write_json(folder / "config.json", config)
        data.vocabulary.save(folder / VOCABULARY)
    trainer = Trainer(
        matcher,
        data.training_pairs(recipe.training.train_images),
        recipe,
        seed=config["seed"],
        folder=folder,
        score_dev=dev_scorer(data.dev, recipe.training.dev_images),
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
        best = load_matcher(folder / WEIGHTS, matcher)
        write_test_scores(folder, best, data.test, progress=progress)
        environment["seconds_since_start"] = round(time.monotonic() - started, 2)
        write_json(folder / "environment.json", environment)
        write_metrics(folder, best, data.test)
    group.broadcast(None)  # the other processes wait until the run is finished


@dataclass(frozen=True)
class Spec:
    """One run of `train_many`: the arguments of `train_or_load` that differ between runs."""

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
    """Return the runs of all ``specs``, trained in several processes where they do not exist yet.

    Args:
        workers: number of processes; by default one for each core on a CPU, one on a GPU. Each
            has its share of the cores, even where fewer runs are missing than ``workers``.

    Raises `InputError` for a wrong argument, or the first error of a run after all have ended.
    """
    specs = list(specs)
    instance("dataset", dataset, os.PathLike, str)
    _check(dataset, root, progress)
    at_least("workers", 1 if workers is None else workers, 1)
    folders, data = {}, load_dataset(dataset)
    for spec in specs:
        recipe = recipes.get(spec.recipe).replace(*spec.overrides)
        folders[spec] = folder_of(configuration(data, recipe, spec.seed), root)
    # two specs may be one run: plug-ins in another order, a setting that is the default
    by_folder = {folder: spec for spec, folder in folders.items()}
    missing = [spec for folder, spec in by_folder.items() if not (folder / COMPLETE).exists()]
    if missing:
        workers = workers or (cores() if pick_device(device).type == "cpu" else 1)
        for _ in run_parallel(
            partial(_train_one, str(dataset), device, str(root)),
            missing,
            workers=min(workers, len(missing)),
            # whatever is missing, as another number of threads gives other float32 sums
            threads=max(1, cores() // workers),
            title="runs",
            unit="run",
            progress=progress,
        ):
            pass
    return [load_trained(folders[spec]) for spec in specs]


@lru_cache(maxsize=1)
def _cached_dataset(dataset: str) -> Dataset:
    """Return a dataset, loaded once per process."""
    return load_dataset(dataset)


def _train_one(dataset: str, device: str, root: str, spec: Spec) -> None:
    train_or_load(
        _cached_dataset(dataset),
        spec.recipe,
        seed=spec.seed,
        device=device,
        root=root,
        overrides=spec.overrides,
        progress=False,
    )
