"""Imported checkpoints on a dataset: runs of the store, with scores, for tables and notebooks.

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from itm_core.data.dataset import Dataset, load_dataset
from itm_core.data.feature_notes import require_same_features
from itm_core.data.vocabulary import Vocabulary
from itm_core.environment import describe, pick_device
from itm_core.errors import InputError
from itm_core.experiments.evaluate import write_metrics, write_test_scores
from itm_core.experiments.prepare import prepare
from itm_core.experiments.run import COMPLETE, IMPORT, VOCABULARY, Run, load
from itm_core.experiments.runs import ROOT, configuration, folder_of
from itm_core.files import whole_file, write_json
from itm_core.settings import instance


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

    The run is a folder of the store like those of trained ones, but for the learning curve, so
    that tables, figures and the explorer take it. Nothing is trained.

    Args:
        folder: what `importing.import_checkpoint` wrote.
        dataset: a loaded dataset, or a folder in the SCAN layout.
        vocabulary: a vocabulary file, as for `run.load`; empty for none.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises `InputError` for a run that was trained here, and for weights or a vocabulary that do
    not fit the dataset.
    """
    instance("folder", folder, str, Path)
    instance("dataset", dataset, Dataset, str, Path)
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    file = Path(vocabulary) if vocabulary else None
    imported = load(folder, dataset=data.folder, vocabulary=file)
    if not imported.imported:
        raise InputError(
            "not an imported checkpoint",
            file=folder,
            found="a run that was trained here, which has its scores",
            remedy="use runs.load(folder), or `itm score` for the scores of another dataset",
        )
    words = imported.vocabulary
    assert isinstance(words, Vocabulary)  # models with BERT are not imported
    require_same_features(imported.config, data.test)
    where = pick_device(device)
    data = replace(data, vocabulary=words)
    import_facts = {name: imported.config[name] for name in ("embedding_rows", "imported")}
    config = configuration(data, imported.recipe, imported.seed) | import_facts
    place = folder_of(config, root)
    if (place / COMPLETE).exists():
        return Run(place)
    environment = describe(where) | {"seconds_training": 0}
    _write_run(place, imported, {"config.json": config, "environment.json": environment})
    matcher = imported.matcher(device)
    test = prepare(data, imported.recipe).test
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
