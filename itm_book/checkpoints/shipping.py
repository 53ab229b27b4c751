"""Writes a finished run as a matcher that ships with the package: ``itm results ship``.

The folder is that of an import (`importing`), with weights rounded to float16:

=====================  =====================================================================
``config.json``        recipe and sizes of the run, the features and boxes that it needs, the
                       SHA-256 of the weights
``best.safetensors``   the weights, float16
``vocabulary.json``    the ids of the words
``environment.json``   versions, machine and commit of the training
``import.json``        origin and test numbers, of float32 and of float16 weights
``README.md``          the model card
``files.json``         the SHA-256 of configuration, vocabulary and weights
=====================  =====================================================================

Page: "Your pictures".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from itm_book.checkpoints.imported_runs import CARD, load_run, weights_hash
from itm_book.checkpoints.model_card import model_card
from itm_book.checkpoints.shipped_matchers import HOME
from itm_book.datasets.run_features import require_same_features
from itm_book.folders import amount, whole_folder
from itm_book.records.commits import require_committed
from itm_core.data.dataset import Dataset
from itm_core.data.feature_notes import read_note
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import embedding_rows, prepare
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import IMPORT, VOCABULARY, WEIGHTS, RunState, note_files
from itm_core.files import whole_file
from itm_core.json_files import write_json

MAX_BYTES = 6_000_000  # of the weights
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class ShippedMatcher:
    """A written folder, the size of its weights in bytes, and the record in ``import.json``."""

    folder: Path
    size: int
    record: dict[str, Any]

    def lines(self) -> list[str]:
        """Return the recalls of both precisions, how much rounding moved, and the folder."""
        test, moved = self.record["test"], self.record["moved_ranks"]
        return [
            *(f"{name}: {retrieval.text(test[name])}" for name in ("float32", "float16")),
            f"largest difference of a score {self.record['largest_difference']:.2g}; "
            f"other ranks: {moved['i2t']} images, {moved['t2i']} captions",
            f"{self.folder}: weights of {amount(self.size)}",
        ]


def ship(
    run: Run,
    name: str,
    dataset: Dataset,
    *,
    terms: str,
    title: str = "",
    home: Path = HOME,
    progress: bool = True,
) -> ShippedMatcher:
    """Write a finished run to ``home/name`` as float16 weights with a model card.

    Args:
        dataset: what it was trained on; its test split is scored with the rounded weights.
        terms: of the dataset, for the model card.
        title: displayed name; by default ``name``.

    Raises `InputError` for a run that is not finished, was imported, has word pieces, is not of
    this dataset or of a commit; for features without a note; for weights that float16 cannot hold
    or that are larger than `MAX_BYTES`; and for a folder that exists.
    """
    _require_shippable(run, name, dataset)
    note = read_note(dataset.folder)
    if note is None:
        raise InputError(
            "these features have no note, so nobody could make such features of other photographs",
            file=dataset.folder,
            remedy="make them with itm data make, and train on those",
        )
    rounded = half(run)
    content = save(rounded)
    if len(content) > MAX_BYTES:
        raise InputError(
            "the weights are too large to ship",
            file=run.folder / WEIGHTS,
            expected=f"{amount(MAX_BYTES)} as float16",
            found=amount(len(content)),
            remedy="train with smaller widths (encoder.embedding, encoder.word_width)",
        )
    record = _record(run, dataset, rounded, terms, progress)
    config = _config(run, note["made_with"], record["words"])
    config["shipped"] = {
        "name": name,
        "title": title or name,
        "backbone": note["made_with"]["name"],
        "weights": hashlib.sha256(content).hexdigest(),
    }
    with whole_folder(home / name) as partial:
        _write(partial, run, content, config, record)
        load_run(partial).matcher()
    return ShippedMatcher(home / name, len(content), record)


def _write(
    folder: Path, run: Run, weights: bytes, config: dict[str, Any], record: dict[str, Any]
) -> None:
    """Write all files of a shipped matcher."""
    with whole_file(folder / WEIGHTS) as file:
        file.write_bytes(weights)
    assert isinstance(run.vocabulary, Vocabulary)
    run.vocabulary.save(folder / VOCABULARY)
    write_json(folder / "config.json", config)
    write_json(folder / "environment.json", run.environment)
    write_json(folder / IMPORT, record)
    with whole_file(folder / CARD) as file:
        file.write_text(model_card(config, record, run.environment), encoding="utf-8")
    note_files(folder)


def _require_shippable(run: Run, name: str, dataset: Dataset) -> None:
    if not NAME.fullmatch(name):
        expected = "lower-case letters, digits and hyphens"
        raise InputError("not a name for a matcher", expected=expected, found=repr(name))
    if run.state is not RunState.FINISHED or run.imported:
        found = "imported weights" if run.imported else f"a run that is {run.state}"
        raise InputError("only a finished run can be shipped", file=run.folder, found=found)
    if not isinstance(run.vocabulary, Vocabulary):
        raise InputError(
            "a matcher with BERT is too large to ship", file=run.folder, found=run.recipe.name
        )
    if dataset.fingerprint != run.config["fingerprint"]:
        raise InputError(
            "the run was trained on other data",
            file=dataset.folder,
            expected=f"{run.config['dataset']}, fingerprint {run.config['fingerprint']}",
            found=f"fingerprint {dataset.fingerprint}",
            remedy="name the dataset of the run with --dataset",
        )
    require_same_features(run.config, dataset.test)
    require_committed(run.environment["commit"])


def half(run: Run) -> dict[str, Tensor]:
    """Return a run's weights with float16 in the place of every other floating type.

    Raises `InputError` for a weight beyond the range of float16.
    """
    rounded = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in run.matcher().state_dict().items()
    }
    for name, value in rounded.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(
                "a weight is beyond the range of float16",
                file=run.folder / WEIGHTS,
                expected=f"values up to {torch.finfo(torch.float16).max:.0f}",
                found=name,
            )
    return rounded


def _record(
    run: Run, dataset: Dataset, rounded: dict[str, Tensor], terms: str, progress: bool
) -> dict[str, Any]:
    """Return origin and test numbers, for ``import.json`` and the model card."""
    matcher = run.matcher()
    matcher.load_state_dict(rounded)
    test = prepare(dataset, run.recipe).test
    scores = score_matrix(matcher, test.features, test.tokens, progress=progress)
    before, after = (retrieval.ranks(values, run.caption_image) for values in (run.scores, scores))
    return {
        "run": run.place,
        "commit": run.environment["commit"],
        "terms": terms,
        "words": len(run.vocabulary),
        "test": {
            name: retrieval.report(values, run.caption_image)
            for name, values in (("float32", run.scores), ("float16", scores))
        },
        "largest_difference": float(np.abs(scores - run.scores).max()),
        "moved_ranks": {
            "i2t": int((before.i2t != after.i2t).sum()),
            "t2i": int((before.t2i != after.t2i).sum()),
        },
        "attention": {
            name: value
            for name, value in run.metrics.items()
            if "_attention_" in name and isinstance(value, float)
        },
    }


def _config(run: Run, made_with: dict[str, Any], words: int) -> dict[str, Any]:
    """Return the configuration of the shipped matcher, but for ``shipped``."""
    rows = embedding_rows(run.recipe, run.vocabulary)
    return run.config | {
        "boxes": str(made_with["boxes"]),
        "embedding_rows": rows,
        "imported": {
            "file": f"{run.place}/{WEIGHTS}",
            "sha256": weights_hash(run),
            "spare_rows": [rows - words],
        },
    }
