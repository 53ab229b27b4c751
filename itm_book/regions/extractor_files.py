"""The trained parts of the extractor of region features, in ``data/models/regions``.

``scorer.safetensors`` are the weights of `box_scorer`, ``projection.safetensors`` the components of
`projection`, both as float16. ``README.md`` is their card.

Page: "From photographs to features".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from itm_book.shipped import shipped
from itm_core.errors import InputError
from itm_core.files import reading

SCORER, PROJECTION, CARD = "scorer.safetensors", "projection.safetensors", "README.md"
REMEDY = "restore data/models/regions, or train the extractor again: itm data extractor"


def extractor_folder() -> Path:
    """Return the folder of the extractor that comes with the project."""
    return shipped("models") / "regions"


def read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return the tensors of a file as float32, or as integers where they are.

    Raises `InputError` when the file is missing or damaged, or has other names or shapes.
    """
    # safetensors reports "not found" for every file that it cannot open
    with reading(path, "a part of the extractor is missing", REMEDY), path.open("rb"):
        pass
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise InputError(
            "not a file of tensors", file=path, found=str(error), remedy=REMEDY
        ) from None
    present = {name: tensor.shape for name, tensor in tensors.items()}
    for name in sorted(present.keys() | shapes.keys()):
        if present.get(name) != shapes.get(name):
            raise InputError(
                f"{name} does not fit the extractor",
                file=path,
                expected=list(shapes[name]) if name in shapes else "no such tensor",
                found=list(present[name]) if name in present else "no such tensor",
                remedy=REMEDY,
            )
    return {
        name: tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor
        for name, tensor in tensors.items()
    }
