"""The features of a split for a finished run: those of the backbone that it was trained on.

A matcher works only with features like those it was trained on. The backbone that is recorded
beside features (`data.feature_notes`) is compared before a run scores other images. A matcher that
is shipped also names its boxes, which are compared too.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itm_core.data.dataset import Split
from itm_core.data.feature_notes import NOTE, features_of_folder, read_note
from itm_core.errors import InputError
from itm_core.experiments.prepare import features_of
from itm_core.experiments.run import Run

FIXED_COUNT = "self_attention"  # image_pooling with a batch norm for each region position


def run_features(run: Run, split: Split) -> Any:
    """Return a split's features ``[I, R, F]`` for a finished run, as `features_of` does.

    Raises `InputError` for features that the run was not trained on (`require_same_features`).
    """
    require_same_features(run.config, split)
    return features_of(split, run.recipe)


def require_same_features(config: Mapping[str, Any], split: Split) -> None:
    """Raise `InputError` unless a split has such features as a run was trained on.

    Args:
        config: the run's configuration (`runs.Run.config`).
        split: regions ``[I, R, F]`` that the run is to score.

    The notes on both must be equal. A note on one side only is refused too: features of another
    origin have no ``features.json``. The source of the boxes is compared where the configuration
    has ``boxes``. The width F is always compared; the number of regions R for a method that fixes
    it.
    """
    boxes = _boxes_of_folder(split.folder) if "boxes" in config else None
    require_same_extractor(config, features_of_folder(split.folder), boxes, split.folder)
    origin = f"as in the run's dataset {config['dataset']}"
    _, regions, width = split.regions.shape
    fixed = config["recipe"]["encoder"].get("image_pooling") == FIXED_COUNT
    for is_same, problem, expected, found in (
        (width == config["feature_width"], "width", config["feature_width"], width),
        (not fixed or regions == config["region_count"], "number", config["region_count"], regions),
    ):
        if not is_same:
            raise InputError(
                f"the regions have another {problem} than those that the run was trained on",
                file=split.folder / f"{split.name}_ims.npy",
                expected=f"{expected}, {origin}",
                found=found,
                remedy="use features of the same extractor, or a run that was trained on these",
            )


def require_same_extractor(
    config: Mapping[str, Any], features: Mapping[str, Any] | None, boxes: str | None, folder: Path
) -> None:
    """Raise `InputError` unless backbone and boxes are those that a run was trained on.

    Args:
        features: the backbone's `Backbone.identity`, None where it is unknown.
        boxes: the name of the source of the boxes; compared where the configuration has one.
        folder: of the features, for the message.
    """
    trained, trained_boxes = config.get("features"), config.get("boxes")
    if features != trained or (trained_boxes is not None and boxes != trained_boxes):
        raise InputError(
            "the matcher was trained on other features and would score these at random",
            file=folder,
            expected=f"{_features_text(trained, trained_boxes)}, as in the run's dataset "
            f"{config['dataset']}",
            found=_features_text(features, boxes),
            remedy=(
                "make the features of both with one backbone (itm data make ... --backbone NAME) "
                "and the same boxes, or name a run that was trained on such features; "
                f"if {NOTE} was only left behind, copy it to the features"
            ),
        )


def _boxes_of_folder(folder: Path) -> str | None:
    """Return the name of the source of a dataset's boxes; None without a note."""
    note = read_note(folder)
    return None if note is None else str(note["made_with"].get("boxes"))


def _features_text(features: Mapping[str, Any] | None, boxes: str | None = None) -> str:
    """Return a description of the features, specific enough to distinguish two networks."""
    if features is None:
        return "features of an unknown backbone"
    weights = f", weights {features['weights'][:12]}…" if "weights" in features else ""
    side = f", at {features['side']} pixels" if "side" in features else ""
    of_boxes = f", boxes: {boxes}" if boxes is not None else ""
    return f"{features['backbone']} [{features['width']}]{weights}{side}{of_boxes}"
