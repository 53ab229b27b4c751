"""Reference files made for a test: a stored one with something changed, or one from scratch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.places import GOLDEN


def arrays_of(name: str) -> dict[str, np.ndarray]:
    """Return everything in a stored reference, the config too."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def config_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the options of a reference."""
    return json.loads(str(arrays["config"]))


def write(folder: Path, arrays: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> Path:
    """Write a reference; ``config`` replaces the one among the arrays."""
    path = folder / "made.npz"
    given = dict(arrays)
    if config is not None:
        given["config"] = np.array(json.dumps(config))
    np.savez(path, **given)
    return path


def without(arrays: Mapping[str, np.ndarray], starts: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with none of ``starts``."""
    return {k: v for k, v in arrays.items() if not k.startswith(tuple(starts))}
