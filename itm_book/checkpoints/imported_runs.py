"""Imported checkpoints: their vocabulary, and their runs on a dataset, with scores, in the store.

An imported checkpoint may have no vocabulary of its own; `load_run` takes that of a dataset, or of
a file. `scored` computes the scores of a test split, for tables and notebooks.

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itm_book.datasets.run_features import require_same_features
from itm_core.data.dataset import Dataset, load_dataset, vocabulary_file
from itm_core.data.vocabulary import Vocabulary
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.experiments.evaluate import write_metrics, write_test_scores
from itm_core.experiments.prepare import Words, prepare
from itm_core.experiments.run import Run, load
from itm_core.experiments.run_folder import (
    COMPLETE,
    CONFIG,
    IMPORT,
    VOCABULARY,
    WEIGHTS,
    RunState,
    damaged_config,
    require_config,
)
from itm_core.experiments.runs import ROOT, configuration, folder_of
from itm_core.files import reading, sha256, whole_file
from itm_core.json_files import write_json
from itm_core.settings import instance

CARD = "README.md"  # of shipped matchers alone
IMPORTED_CONFIG = CONFIG | {"embedding_rows": int, "imported": dict}


@dataclass(frozen=True)
class ImportedRun(Run):
    """Imported weights, with or without scores of a test split.

    Attributes:
        words: the vocabulary of weights without one in their folder, or in its place; see
            `load_run`.
    """

    words: Vocabulary | None = None

    @cached_property
    def vocabulary(self) -> Words:
        """The vocabulary; raises `InputError` for weights that were loaded without one."""
        if self.words is not None:
            return self.words
        if not (self.folder / VOCABULARY).exists():
            raise InputError(
                "imported weights have no vocabulary",
                file=self.folder,
                remedy="import with --vocabulary FILE, or use imported_runs.load_run(folder, "
                "dataset=...)",
            )
        return Vocabulary.load(self.file(VOCABULARY))

    @property
    def again(self) -> str:
        """How to get the folder again: a shipped matcher comes with the package."""
        if not (self.folder / CARD).exists():
            return super().again
        folder = shlex.quote(str(self.folder))
        return f"get it again (git checkout -- {folder}, or install the package again)"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The numbers of the test split; raises `InputError` for weights without scores."""
        self._require_scores()
        return super().metrics

    @cached_property
    def scores(self) -> np.ndarray:
        """``[I, C]`` float32 scores of the test split; raises as `metrics` does."""
        self._require_scores()
        return super().scores

    def _require_scores(self) -> None:
        if self.state is not RunState.FINISHED:
            raise InputError(
                "imported weights have no scores of a test split",
                file=self.folder,
                remedy="use imported_runs.scored(folder, dataset), or `itm score` for the scores",
            )


def load_run(
    folder: Path | str, *, dataset: Path | str | None = None, vocabulary: Path | None = None
) -> Run:
    """Return the finished run, or the imported weights, in ``folder``.

    Args:
        dataset: a folder in the SCAN layout; the vocabulary file of imported
            weights that have none.
        vocabulary: a vocabulary file that replaces both; for imported weights only.

    Raises `InputError` as `run.load` does, for a vocabulary whose size is not that of the imported
    word embedding, and for a shipped matcher with other weights than it was shipped with.
    """
    run = ImportedRun(Path(folder))
    if (run.folder / IMPORT).exists():
        require_config(run, IMPORTED_CONFIG)
        spare = run.config["imported"].get("spare_rows")
        if not isinstance(spare, list) or any(type(rows) is not int for rows in spare):
            raise damaged_config(run, ["spare_rows of what is imported"])
        if run.config.get("shipped") is not None:
            _require_shipped_weights(run)
        return _with_words(run, dataset, vocabulary)
    trained = load(folder)
    if vocabulary is not None:
        raise InputError(
            "a run that was trained here has its own vocabulary",
            file=folder,
            found=f"vocabulary {vocabulary}",
            remedy="leave the vocabulary out; it is for imported checkpoints",
        )
    return trained


def _require_shipped_weights(run: Run) -> None:
    """Raise `InputError` unless a shipped matcher has the weights that its configuration names."""
    expected, digest = run.config["shipped"].get("weights"), weights_hash(run)
    if digest != expected:
        raise InputError(
            "these are not the weights that were shipped",
            file=run.folder / WEIGHTS,
            expected=f"SHA-256 {expected}",
            found=digest,
            remedy=run.repair,
        )


def load_members(
    folders: Sequence[Path | str],
    *,
    dataset: Path | str | None = None,
    vocabulary: Path | None = None,
) -> list[Run]:
    """Return the runs in several folders; a vocabulary is for the imported ones among them.

    Raises `InputError` as `load_run` does, and for a folder that is named twice.
    """
    paths = [Path(folder).resolve() for folder in folders]
    repeated = next((path for k, path in enumerate(paths) if path in paths[:k]), None)
    if repeated is not None:
        raise InputError("this run is named twice", file=repeated, remedy="name each member once")
    imported = [(path / IMPORT).exists() for path in paths]
    return [  # where none is imported, the first refuses the vocabulary
        load_run(
            folder, dataset=dataset, vocabulary=vocabulary if use or not any(imported) else None
        )
        for folder, use in zip(folders, imported, strict=True)
    ]


def _with_words(
    run: ImportedRun, dataset: Path | str | None, vocabulary: Path | None
) -> ImportedRun:
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
    return ImportedRun(run.folder, words)


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


def vocabulary_hash(vocabulary: Words) -> str:
    """Return a hash that distinguishes vocabularies: a SHA-256 of the ids, cut to 16 digits."""
    text = json.dumps(dict(vocabulary.ids), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def weights_hash(run: Run) -> str:
    """Return the SHA-256 of a run's file of weights.

    Raises `InputError` when it is missing, and as `Run.file` does.
    """
    with reading(run.folder / WEIGHTS, "checkpoint not found", run.repair):
        (run.folder / WEIGHTS).stat()
    return sha256(run.file(WEIGHTS))


def scored(
    folder: Path | str,
    dataset: Dataset | Path | str,
    *,
    vocabulary: Path | str | None = None,
    device: str = "auto",
    root: Path | str = ROOT,
    progress: bool = True,
) -> Run:
    """Return the run of an imported checkpoint on a dataset, scoring its test split if need be.

    The run is a folder of the store without a learning curve. Nothing is trained.

    Args:
        folder: what `importing.import_checkpoint` wrote.
        dataset: a loaded dataset, or a folder in the SCAN layout.
        vocabulary: a vocabulary file, as for `load_run`; empty for none.
        device: ``auto``, ``cpu`` or another one of torch.

    Raises `InputError` for a run that was trained here, and for weights or a vocabulary that do
    not fit the dataset.
    """
    instance("folder", folder, str, Path)
    instance("dataset", dataset, Dataset, str, Path)
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    named = Path(vocabulary) if vocabulary else None
    weights = load_run(folder, dataset=data.folder, vocabulary=named)
    if not weights.imported:
        raise InputError(
            "not an imported checkpoint",
            file=folder,
            found="a run that was trained here, which has its scores",
            remedy="use runs.load(folder), or `itm score` for the scores of another dataset",
        )
    assert isinstance(weights.vocabulary, Vocabulary)  # models with BERT are not imported
    require_same_features(weights.config, data.test)
    data.test.require_readable()
    where = pick_device(device)
    data = replace(data, vocabulary=weights.vocabulary)
    origin = {name: weights.config[name] for name in ("embedding_rows", "imported")}
    config = configuration(data, weights.recipe, weights.seed) | origin
    place = folder_of(config, root)
    if (place / COMPLETE).exists():
        return Run(place)
    environment = describe(where) | {"seconds_training": 0}
    _write_run(place, weights, {"config.json": config, "environment.json": environment})
    matcher = weights.matcher(device)
    test = prepare(data, weights.recipe).test
    write_test_scores(place, matcher, test, progress=progress)
    write_metrics(place, matcher, test)
    return Run(place)


def _write_run(place: Path, imported: Run, notes: Mapping[str, dict[str, Any]]) -> None:
    """Write the notes, the vocabulary and copies of the imported files to a run's folder."""
    for name, content in notes.items():
        write_json(place / name, content)
    assert isinstance(imported.vocabulary, Vocabulary)
    imported.vocabulary.save(place / VOCABULARY)
    for name in ("best.safetensors", IMPORT):
        with whole_file(place / name) as partial:
            shutil.copyfile(imported.folder / name, partial)
