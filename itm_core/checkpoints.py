"""The authors' checkpoints, read safely and converted once.

A release's ``model_best.pth.tar`` is a pickled dictionary: ``model`` (one state dict, or a list
of them for image encoder, text encoder and similarity) and ``opt``, an ``argparse.Namespace``.
It is read with ``weights_only`` and an allow-list of what such a file needs, no more: a pickle
that calls anything else is refused before it can run. The result is a folder:

====================  =====================================================================
``best.safetensors``  the weights under our names
``recipe.json``       the recipe that the options amount to
``import.json``       where it came from, and every key: used, unused (with the reason), missing
====================  =====================================================================

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_core import recipes
from itm_core.errors import InputError
from itm_core.files import read_json, write_json
from itm_core.matchers import Matcher
from itm_core.methods import METHODS
from itm_core.positions import POSITION_WIDTH
from itm_core.recipes import Recipe
from itm_core.reference.chan import chan_settings
from itm_core.reference.models import FAMILIES, name_in
from itm_core.reference.names import UNUSED
from itm_core.reference.pfan import pfan_settings
from itm_core.reference.pooled import pooled_settings
from itm_core.weights import load_matcher, save_matcher

PREFIXES = ("img_enc.", "txt_enc.", "sim_enc.")  # of the state dicts in a list, in this order
# an option or a part of a weight's name that only this family has, the family, a recipe of it
MARKS = (
    ("self_regulator", "rcar", "rcar-t2i"),
    ("module_name", "sgraf", "saf"),
    ("focal_type", "bfan", "bfan-prob"),
    ("model_mode", "imram", "imram-full"),
    ("position_embedding", "pfan", "pfan-t2i"),
    ("coding_type", "chan", "chan"),
    ("cross_attn", "scan", "scan-t2i-mean"),
    ("Rs_GCN_1", "vsrn", "vsrn"),
    ("gpool", "vseinf", "vse-gpo"),
    ("use_abs", "vsepp", "vse-mean"),
)
SETTINGS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    **FAMILIES,
    "pfan": pfan_settings,
    "chan": chan_settings,
    **{family: partial(pooled_settings, family) for family in ("vsrn", "vseinf", "vsepp")},
}


@dataclass(frozen=True)
class Imported:
    """What a checkpoint became.

    Attributes:
        folder: where it lies now.
        recipe: what its options amount to.
        used: release's name -> ours.
        unused: release's name -> why it is not used.
        missing: our parameters that the file does not have.
        sizes: feature width, vocabulary size and region count of the matcher.
    """

    folder: Path
    recipe: Recipe
    used: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    sizes: tuple[int, int, int] = (0, 0, 0)

    def lines(self) -> list[str]:
        """Return the report, one line for every key that is not simply used, then a summary."""
        said = [f"unused   {name}: {reason}" for name, reason in self.unused.items()]
        said += [f"missing  {name}" for name in self.missing]
        return [
            *said,
            f"{len(self.used)} keys used, {len(self.unused)} unused, {len(self.missing)} missing",
        ]


def import_checkpoint(path: Path, folder: Path) -> Imported:
    """Convert a release's checkpoint into ``folder`` and return what became of every key.

    Raises `InputError` when the file is no such checkpoint, asks for anything to be run, has an
    option that ours lacks, or misses a weight; and when ``folder`` exists already.
    """
    if folder.exists():
        raise InputError(
            "there is something in the way", file=folder, remedy="name another folder, or remove it"
        )
    content = read_checkpoint(path)
    options = options_of(content, path)
    weights = flattened(content.get("model"), path)
    family, method = family_of(options, weights, path)
    recipe = _recipe(options, family, method, path)
    sizes = _sizes(weights, options, recipe)
    matcher = recipe.build(*sizes)
    found = _sorted(matcher, weights, family, Imported(folder, recipe, sizes=sizes))
    if found.missing:
        raise InputError(
            "the checkpoint lacks weights",
            file=path,
            found="\n".join(found.lines()),
            expected="every parameter of the method that its options describe",
        )
    state = {ours: weights[theirs] for theirs, ours in found.used.items()}
    wanted = matcher.state_dict()
    matcher.load_state_dict({k: v.view(wanted[k].shape) for k, v in state.items()})
    aside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    _write(found, matcher, path, options, aside)
    aside.rename(folder)
    return found


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the dictionary in a checkpoint; nothing in the file is run."""
    allowed: list[Any] = [argparse.Namespace, np.dtype, np.dtypes.Float64DType]
    allowed += [np.dtypes.Float32DType, np.dtypes.Int64DType, *_numpy_scalars()]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError("checkpoint not found", file=path) from None
    except pickle.UnpicklingError as error:
        raise InputError(
            "this file wants something run, or is damaged; nothing was",
            file=path,
            found=str(error).split("\n")[0][:300],
            expected="tensors, numbers, text and an argparse.Namespace",
            remedy="get it again from its authors; if it is theirs, open an issue",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(
            "not readable as a checkpoint", file=path, found=str(error).split("\n")[0][:300]
        ) from None
    if not isinstance(content, Mapping) or "model" not in content:
        raise InputError(
            "no checkpoint of this family",
            file=path,
            expected="a dictionary with `model` and `opt`",
        )
    return content


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
    """Return all weights by one name each, whatever the layout: a list, or one dictionary.

    Raises `InputError` for anything else. ``module.`` (several GPUs) is taken off.
    """
    parts = model if isinstance(model, (list, tuple)) else [model]
    if not parts or len(parts) > 3 or not all(isinstance(part, Mapping) for part in parts):
        raise InputError(
            "unknown layout of weights",
            file=path,
            found=type(model).__name__,
            expected="a state dict, or a list of two or three of them",
        )
    prefixes = PREFIXES if len(parts) > 1 else ("",)
    return {
        prefix + name.removeprefix("module."): value
        for prefix, part in zip(prefixes, parts, strict=False)
        for name, value in part.items()
    }


def family_of(
    options: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> tuple[str, str]:
    """Return the family of a checkpoint, and a recipe of its paper; raises `InputError`."""
    for mark, family, method in MARKS:
        if mark in options or any(mark in name for name in weights):
            return family, method
    marks = ", ".join(mark for mark, _, _ in MARKS)
    raise InputError("unknown method", file=path, expected=f"an option or a weight with {marks}")


def _recipe(options: Mapping[str, Any], family: str, method: str, path: Path) -> Recipe:
    try:
        encoder, settings, regulator = SETTINGS[family](options)
    except KeyError as error:
        raise InputError("unknown or missing option", file=path, found=error) from None
    if encoder.words == "bert":
        raise InputError(
            "models with BERT cannot be imported yet",
            file=path,
            expected="a model with a GRU",
            remedy="train chan-bert with encoder.bert set to a folder with BERT's weights",
        )
    return Recipe(
        name=f"imported-{path.name.partition('.')[0]}",
        paper=METHODS[method].paper,
        encoder=encoder,
        matcher=settings,
        regulator=regulator,
    )


def _sizes(
    weights: Mapping[str, Tensor], options: Mapping[str, Any], recipe: Recipe
) -> tuple[int, int, int]:
    """Return feature width, vocabulary size and region count, as the weights have them."""
    words = weights.get("txt_enc.embed.weight")
    count = weights.get("sim_enc.v_global_w.embedding_local.1.weight")
    positions = POSITION_WIDTH if recipe.encoder.positions != "none" else 0
    return (
        int(options["img_dim"]) + positions,
        int(options["vocab_size"]) if words is None else len(words),
        36 if count is None else len(count),
    )


def _sorted(
    matcher: Matcher, weights: Mapping[str, Tensor], family: str, found: Imported
) -> Imported:
    """Say of every key whether it is used, and of every parameter whether it is there."""
    wanted = matcher.state_dict()
    for theirs, value in weights.items():
        ours = name_in(matcher, theirs, family)
        if ours == UNUSED:
            found.unused[theirs] = "takes no part in the release's own scores"
        elif ours not in wanted:
            found.unused[theirs] = "has no place in this method"
        elif wanted[ours].numel() != value.numel():
            shapes = f"{tuple(value.shape)}, expected {tuple(wanted[ours].shape)}"
            found.unused[theirs] = f"has another shape: {shapes}"
        else:
            found.used[theirs] = ours
    found.missing.extend(sorted(set(wanted) - set(found.used.values())))
    return found


def _write(
    found: Imported, matcher: Matcher, path: Path, options: Mapping[str, Any], folder: Path
) -> None:
    save_matcher(matcher, folder / "best.safetensors")
    write_json(folder / "recipe.json", found.recipe.to_dict())
    write_json(
        folder / "import.json",
        {
            "source": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "options": json.loads(json.dumps(dict(options), default=str)),
            "sizes": found.sizes,
            "used": found.used,
            "unused": found.unused,
            "missing": found.missing,
        },
    )


def load_imported(folder: Path) -> tuple[Recipe, Matcher]:
    """Return recipe and matcher of a folder that `import_checkpoint` wrote."""
    recipe = recipes.from_dict(read_json(folder / "recipe.json"))
    matcher = recipe.build(*read_json(folder / "import.json")["sizes"])
    return recipe, load_matcher(folder / "best.safetensors", matcher)
