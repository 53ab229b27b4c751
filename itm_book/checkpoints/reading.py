"""Reads the authors' checkpoint files without executing code that they contain.

A pickle can call any function when it is loaded. These files are read with ``weights_only`` and an
allow-list of the types of a checkpoint. Text from a file is shown with its control characters
escaped. Messages of torch, which advise to switch the protection off, are not shown.

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core.errors import InputError, escaped
from itm_core.files import reading

# of the state dicts in a list, in this order; CHAN appends the parts that have no weights
PREFIXES = ("img_enc.", "txt_enc.", "sim_enc.", "criterion.")
REFUSED = re.compile(r"GLOBAL (.+?) (?:was not|whose module)|function (\S+)$", re.DOTALL | re.M)
ZIP = b"PK\x03\x04"  # torch reads what starts otherwise as a bare pickle, which has no checksums
DOS_FOLDER = 0x10  # of the external attributes of a part of an archive
# how files start that are taken for checkpoints by mistake; no pickle starts like this
OTHER_KINDS = (
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"{", "text, perhaps JSON"),
    (b"[", "text, perhaps JSON"),
    (b"<", "text, perhaps a web page"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer, without the file that it names"),
)
LONGEST = 120  # characters of a name or a value from a file that a message shows


def plain(value: object) -> str:
    """Return text from a file for display: one line, without control characters, shortened.

    >>> plain("fc\\x1b[31m.weight\\n")
    'fc\\\\x1b[31m.weight\\\\n'
    """
    text = escaped(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the dictionary in a checkpoint; no code in the file is executed.

    Raises `InputError` when the file is missing, damaged, of another kind, unsafe (the class or
    function that it refers to is named), or no dictionary with ``model``.
    """
    _require_intact(path)
    allowed: list[Any] = [argparse.Namespace, np.dtype, np.dtypes.Float64DType]
    allowed += [np.dtypes.Float32DType, np.dtypes.Int64DType, *_numpy_scalars()]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch asks for a bug report on newer pickles
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(path, str(error)) from None
    except Exception as error:  # a crafted or damaged pickle makes the reader raise any kind
        raise InputError(
            "not readable as a checkpoint",
            file=path,
            expected="a file that torch.save wrote",
            found=f"{type(error).__name__} while it was read",
            remedy="get it again from its authors",
        ) from None
    if not isinstance(content, Mapping) or "model" not in content:
        raise InputError(
            "no checkpoint of this family",
            file=path,
            expected="a dictionary with `model` and `opt`",
        )
    return content


def _require_intact(path: Path) -> None:
    """Raise `InputError` unless the file may be a checkpoint, with the checksums that it stores.

    torch's own reader compares no checksum: a changed byte would be a changed weight.
    """
    if path.is_dir():
        raise _other_kind(path, "a folder")
    with reading(path, "checkpoint not found"), path.open("rb") as file:
        start = file.read(64)
    kind = next((kind for head, kind in OTHER_KINDS if start.lstrip().startswith(head)), None)
    if kind is not None or not start:
        raise _other_kind(path, kind or "an empty file")
    if not start.startswith(ZIP):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            # torch reads nothing, and returns what is in memory, for a part marked as a folder
            folders = [x.filename for x in archive.infolist() if x.external_attr & DOS_FOLDER]
            wrong = archive.testzip() or next(iter(folders), None)
    except Exception as error:  # damage makes the reader raise any kind
        wrong = f"{type(error).__name__} while it was read"
    if wrong is not None:
        raise InputError(
            "damaged checkpoint: a part of it is missing or was changed",
            file=path,
            expected="the checksums that it stores",
            found=plain(wrong),
            remedy="download it again",
        )


def _other_kind(path: Path, kind: str) -> InputError:
    return InputError(
        "not a checkpoint",
        file=path,
        expected="a file that torch.save wrote, such as model_best.pth.tar",
        found=kind,
        remedy="name the checkpoint's own file",
    )


def _refused(path: Path, reason: str) -> InputError:
    """Return the error for what the safe reader refused, which is named where it has a name."""
    match = REFUSED.search(reason)
    named = plain(match[1] or match[2]) if match else "an instruction that no checkpoint needs"
    return InputError(
        "unsafe or damaged checkpoint: refused before anything was run",
        file=path,
        expected="tensors, numbers, text and an argparse.Namespace",
        found=named,
        remedy="get the file again from its authors, and do not open this one with anything else",
    )


def _numpy_scalars() -> list[Any]:
    """Return the functions by which NumPy's numbers are pickled, under both their names."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    return [scalar, (scalar, "numpy.core.multiarray.scalar")]


def options_of(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the options beside the weights; raises `InputError` when there are none."""
    options = content.get("opt")
    if isinstance(options, argparse.Namespace):
        return vars(options)
    if isinstance(options, Mapping):
        return dict(options)
    raise InputError(
        "the checkpoint has no options",
        file=path,
        found=type(options).__name__,
        expected="`opt`, the argparse.Namespace that the release saves beside its weights",
    )


def flattened(model: Any, path: Path) -> dict[str, Tensor]:
    """Return all weights by one name each, whatever the layout: a list, or one state dict.

    ``module.``, which several GPUs put before every name, is taken off. Raises `InputError` for
    another layout, a value that is no tensor, and two weights of one name.
    """
    parts = model if isinstance(model, (list, tuple)) else [model]
    readable = 0 < len(parts) <= len(PREFIXES) and all(isinstance(part, Mapping) for part in parts)
    if not readable:
        raise InputError(
            "unknown layout of weights",
            file=path,
            found=f"{type(model).__name__} of {len(parts)}",
            expected=f"a state dict, or a list of two to {len(PREFIXES)} of them",
        )
    prefixes = PREFIXES if len(parts) > 1 else ("",)
    weights: dict[str, Tensor] = {}
    for prefix, part in zip(prefixes, parts, strict=False):
        for name, value in part.items():
            full_name = prefix + str(name).removeprefix("module.")
            if not isinstance(value, Tensor) or full_name in weights:
                twice = "two weights of this name" if full_name in weights else type(value).__name__
                raise InputError(
                    "state dicts hold one tensor for each name",
                    file=path,
                    found=f"{twice} at {plain(full_name)}",
                )
            weights[full_name] = value
    return weights
