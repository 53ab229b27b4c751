"""Which backbone made a dataset's features: ``features.json`` beside them.

A matcher works only with features like those it was trained on. Vectors of two networks may have
the same width and still be unrelated, so the backbone is recorded beside the features, becomes
part of the configuration of every run on them, and is compared before a run scores other images.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itm_core.errors import InputError
from itm_core.files import read_json, write_json

if TYPE_CHECKING:
    from itm_core.data.dataset import Split

NOTE = "features.json"
PARTS = ("features", "made_with", "source", "images", "left_out")
FIXED_COUNT = "self_attention"  # image_pooling with a batch norm for each region position


def write_note(folder: Path, note: dict[str, Any]) -> None:
    """Write what `read_note` returns."""
    assert set(note) == set(PARTS)
    write_json(folder / NOTE, note)


def read_note(folder: Path | str) -> dict[str, Any] | None:
    """Return the note in a folder, None where there is none.

    ``features`` decides the features; ``made_with`` names the backbone, the boxes, versions;
    ``source`` is a hash of what the features were made of; ``left_out`` lists damaged files.
    Raises `InputError` for a file that is no such note.
    """
    path = Path(folder) / NOTE
    if not path.exists():
        return None
    note = read_json(path)
    if not set(PARTS) <= note.keys():
        remedy = "make the features again: itm data make"
        expected = f"an object with {', '.join(PARTS)}"
        raise InputError("not a note on features", file=path, expected=expected, remedy=remedy)
    features = note["features"]
    if not isinstance(features, dict) or not {"backbone", "width"} <= features.keys():
        remedy = "make the features again: itm data make"
        expected = "features with at least a backbone and a width"
        raise InputError("not a note on features", file=path, expected=expected, remedy=remedy)
    return note


def features_of_folder(folder: Path | str) -> dict[str, Any] | None:
    """Return what decides the features of a dataset; None without a note."""
    note = read_note(folder)
    return None if note is None else note["features"]


def require_same_features(config: Mapping[str, Any], split: Split) -> None:
    """Raise `InputError` unless a split has such features as a run was trained on.

    Args:
        config: the run's configuration (`runs.Run.config`).
        split: regions ``[I, R, F]`` that the run is to score.

    The notes on both must be equal. A note on one side only is refused too: features of another
    origin have no ``features.json``. The width F is always compared; the number of regions R for
    a method that fixes it.
    """
    features, trained = features_of_folder(split.folder), config.get("features")
    origin = f"as in the run's dataset {config['dataset']}"
    if features != trained:
        raise InputError(
            "the matcher was trained on other features and would score these at random",
            file=split.folder,
            expected=f"{_features_text(trained)}, {origin}",
            found=_features_text(features),
            remedy=(
                "make the features of both with one backbone (itm data make ... --backbone NAME), "
                f"or name a run that was trained on such features; if {NOTE} was only left behind, "
                "copy it to the features"
            ),
        )
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


def _features_text(features: dict[str, Any] | None) -> str:
    """Return a description of the features, specific enough to distinguish two networks."""
    if features is None:
        return "features of an unknown backbone"
    weights = f", weights {features['weights'][:12]}…" if "weights" in features else ""
    side = f", at {features['side']} pixels" if "side" in features else ""
    return f"{features['backbone']} [{features['width']}]{weights}{side}"
