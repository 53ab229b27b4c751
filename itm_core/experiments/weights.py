"""Saving and loading the weights of a matcher as safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file

from itm_core.errors import InputError, files_named
from itm_core.files import reading, whole_file
from itm_core.models import Matcher


def load_matcher(path: Path, matcher: Matcher, *, again: str = "train the run again") -> Matcher:
    """Return ``matcher`` with the weights in ``path``, in evaluation mode.

    Args:
        again: how to recreate the folder, for the remedy of a missing or damaged file.

    Raises `InputError` when the file is missing, may not be read, does not fit the matcher, or has
    values that are not finite.
    """
    remedy = f"delete {path.parent} and {again}"
    # safetensors reports "not found" for every file that it cannot open
    with reading(path, "checkpoint not found", remedy), path.open("rb"):
        pass
    try:
        with files_named(path, "read"):  # a full memory or a failed drive says nothing of the file
            weights = load_file(path)
            broken = [n for n, it in weights.items() if it.is_complex() or not it.isfinite().all()]
            if not broken:
                matcher.load_state_dict(weights)
    except InputError:
        raise
    except Exception as error:  # safetensors and torch raise many kinds for a damaged file
        raise InputError(
            "the checkpoint does not fit",
            file=path,
            found=str(error).strip().split("\n")[0],
            remedy=remedy,
        ) from error
    if broken:
        raise InputError(
            "weights that are no finite numbers",
            file=path,
            found=f"NaN, infinity or complex numbers in {broken[0]}",
            remedy=remedy,
        )
    return matcher.eval()


def save_matcher(matcher: Matcher, path: Path) -> None:
    """Write the matcher's weights as safetensors, completely or not at all."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in matcher.state_dict().items()}
    with whole_file(path) as partial:
        save_file(weights, partial)
