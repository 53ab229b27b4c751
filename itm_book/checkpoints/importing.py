"""Converts the authors' checkpoints to run folders, safely.

A release's ``model_best.pth.tar`` is a pickled dictionary: ``model`` (one state dict, or a list
of them for image encoder, text encoder and similarity) and ``opt``, an ``argparse.Namespace``.
`import_checkpoint` turns it into a folder that `imported_runs.load_run` takes:

=====================  =====================================================================
``config.json``        the recipe of the options, the sizes, the source's SHA-256
``best.safetensors``   the weights under our names
``environment.json``   where and when it was imported
``import.json``        the options, and every key: used, or unused with the reason
``vocabulary.json``    if it is given: the checkpoint has none
``files.json``         the SHA-256 of configuration, weights and vocabulary
=====================  =====================================================================

Every weight of the file must match a parameter and vice versa; both encoders and one score are
computed before the folder is moved to its place. `imported_runs.scored` gives the run
of an imported checkpoint on a dataset, with the scores of its test split.

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itm_book.checkpoints.authors_names import UNUSED, name_in
from itm_book.checkpoints.imported_runs import check_vocabulary
from itm_book.checkpoints.options import (
    BROKEN,
    family_of,
    no_method,
    recipe_of,
    require_importable,
    with_facts,
)
from itm_book.checkpoints.reading import flattened, options_of, plain, read_checkpoint
from itm_book.folders import whole_folder
from itm_core.data.vocabulary import Vocabulary
from itm_core.encoders.positions import BLOCKS_KEPT
from itm_core.environment import describe
from itm_core.errors import InputError
from itm_core.experiments.prepare import build
from itm_core.experiments.recipes import Recipe
from itm_core.experiments.run_folder import IMPORT, VOCABULARY, note_files
from itm_core.experiments.weights import save_matcher
from itm_core.files import sha256
from itm_core.json_files import write_json
from itm_core.models import Matcher
from itm_core.models.pairing import AllPairs
from itm_core.settings import seed_of

# Rows of the embedding that no word of the vocabulary file has: RCAR and CHAN append <mask> when
# they train. VSE-infinity's branch with a GRU has been seen with either number.
SPARE_ROWS = {"rcar": (1,), "chan": (1,), "vseinf": (0, 1)}
NUMBER_TYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
NUMBER_TYPES |= {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
LISTED = 5  # problems that a message names
Scalar = str | int | float | bool


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        folder: the written folder.
        recipe: the recipe of its options.
        used: release's name -> ours.
        unused: release's name -> why its own scores do not depend on it.
        misfits: release's name -> why it matches no parameter.
        missing: parameters of the method that the file does not have.
    """

    folder: Path
    recipe: Recipe
    used: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report: a line for every key that is not simply used, then a summary."""
        rows = [f"unused   {plain(name)}: {reason}" for name, reason in self.unused.items()]
        return [*rows, *self.problems(), self.summary()]

    def problems(self) -> list[str]:
        """Return a line for every key without a place, and for every missing parameter."""
        rows = [f"misfit   {plain(name)}: {reason}" for name, reason in self.misfits.items()]
        return [*rows, *(f"missing  {name}" for name in self.missing)]

    def summary(self) -> str:
        """Return how many keys were used, and how many were not."""
        counts = f"{len(self.used)} keys used, {len(self.unused)} unused"
        if self.misfits:
            counts += f", {len(self.misfits)} without a place"
        return f"{counts}, {len(self.missing)} missing"


def import_checkpoint(path: Path, folder: Path, *, vocabulary: Path | None = None) -> Imported:
    """Convert a release's checkpoint to ``folder``, and return the use of every key.

    Args:
        vocabulary: the authors' vocabulary file, kept with the weights.

    Raises `InputError` when the file is no such checkpoint or is unsafe, has an option that ours
    lacks, misses a weight or brings one that nothing takes, or fails its trial run; when the
    vocabulary has another size than its embedding; and when ``folder`` exists or cannot be made.
    """
    with whole_folder(folder) as partial:
        return _converted(path, folder, partial, vocabulary)


def _converted(path: Path, folder: Path, partial: Path, vocabulary: Path | None) -> Imported:
    """Convert to the temporary folder ``partial``, see `import_checkpoint`."""
    content = read_checkpoint(path)
    options = options_of(content, path)
    weights = flattened(content["model"], path)
    require_importable(options, weights, path)
    family = family_of(options, weights, path)
    recipe = recipe_of(with_facts(options, weights, family), family, path)
    config = _config(path, recipe, family, options, weights)
    words = None if vocabulary is None else Vocabulary.load(vocabulary)
    if words is not None:
        check_vocabulary(config, words, vocabulary)
    try:
        with torch.device("meta"):  # shapes alone: options may ask for more than the memory
            shapes = build(recipe, config, None)
    except BROKEN as error:
        raise no_method(path, error) from None
    imported = _sorted(shapes, weights, family, Imported(folder, recipe))
    _require_all(imported, path)
    matcher = build(recipe, config, None).eval()
    wanted = matcher.state_dict()  # convolutions of width one are linear maps
    state = {
        ours: weights[theirs].reshape(wanted[ours].shape) for theirs, ours in imported.used.items()
    }
    matcher.load_state_dict(state)
    _try(matcher, config, path)
    write_json(partial / "config.json", config)
    write_json(
        partial / "environment.json", describe(torch.device("cpu")) | {"seconds_training": 0}
    )
    write_json(partial / IMPORT, _account(imported, options))
    save_matcher(matcher, partial / "best.safetensors")
    if words is not None:
        words.save(partial / VOCABULARY)
    note_files(partial)
    return imported


def _config(
    path: Path,
    recipe: Recipe,
    family: str,
    options: Mapping[str, Any],
    weights: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Return what `Run.config` gives; sizes are those of the weights where these show them."""
    words = weights.get("txt_enc.embed.weight")
    count = weights.get("sim_enc.v_global_w.embedding_local.1.weight")
    width, rows, seed = (options.get(name) for name in ("img_dim", "vocab_size", "seed"))
    rows = rows if words is None or not words.ndim else len(words)
    if not all(isinstance(size, int) and size > 0 for size in (width, rows)):
        sizes = f"img_dim {plain(width)}, vocab_size {plain(rows)}"
        raise InputError("sizes must be whole numbers above zero", file=path, found=sizes)
    return {
        "dataset": "imported",
        "feature_width": width,
        "region_count": 36 if count is None or not count.ndim else len(count),
        "embedding_rows": rows,
        "seed": _seed(seed),
        "recipe": recipe.to_dict(),
        "imported": {
            "file": plain(path.name),
            "sha256": sha256(path),
            "spare_rows": list(SPARE_ROWS.get(family, (0,))),
        },
    }


def _seed(value: object) -> int:
    """Return the training seed of a release; 0 for an invalid one."""
    try:
        return seed_of(value)
    except InputError:
        return 0


def _sorted(
    matcher: Matcher, weights: Mapping[str, Tensor], family: str, imported: Imported
) -> Imported:
    """Enter the use of every key and the missing parameters, and return ``found``."""
    wanted = matcher.state_dict()
    for theirs, value in weights.items():
        ours = name_in(matcher, theirs, family)
        if ours == UNUSED:
            imported.unused[theirs] = "takes no part in the release's own scores"
        elif ours not in wanted:
            imported.misfits[theirs] = "has no place in this method"
        elif not _is_plain(value):
            imported.misfits[theirs] = "is no dense tensor of real numbers"
        elif value.dtype not in NUMBER_TYPES:
            imported.misfits[theirs] = f"has numbers of a type that is not read here: {value.dtype}"
        elif ours in imported.used.values():
            imported.misfits[theirs] = "another key has its place"
        elif wanted[ours].squeeze().shape != value.squeeze().shape:
            shapes = f"{tuple(value.shape)}, expected {tuple(wanted[ours].shape)}"
            imported.misfits[theirs] = f"has another shape: {shapes}"
        elif not value.isfinite().all():
            imported.misfits[theirs] = "has values that are not finite"
        else:
            imported.used[theirs] = ours
    imported.missing.extend(sorted(set(wanted) - set(imported.used.values())))
    return imported


def _is_plain(value: Tensor) -> bool:
    """Return whether a tensor has its numbers in memory, one by one (no sparse or meta tensor)."""
    dense = value.layout == torch.strided and value.device.type == "cpu"
    return dense and not value.is_quantized and not value.is_complex()


def _require_all(imported: Imported, path: Path) -> None:
    """Raise `InputError` with the first problems unless the weights are the method's own."""
    if imported.missing or imported.misfits:
        problems = imported.problems()
        shown = problems[:LISTED]
        if len(problems) > LISTED:
            shown.append(f"and {len(problems) - LISTED} more")
        lacks = "lacks weights" if imported.missing else "brings weights that nothing takes"
        raise InputError(
            f"the checkpoint {lacks}",
            file=path,
            found="; ".join([*shown, imported.summary()]),
            expected="the parameters of the method that its options describe, no more and no less",
            remedy="get the file again from its authors, with the options that belong to it",
        )


@torch.no_grad()
def _try(matcher: Matcher, config: Mapping[str, Any], path: Path) -> None:
    """Encode two images and two captions and score them; raises `InputError` when that fails."""
    draw = torch.Generator().manual_seed(0)
    regions, last = config["region_count"], config["embedding_rows"] - 1
    features = torch.rand(2, regions, config["feature_width"], generator=draw)
    if config["recipe"]["encoder"]["positions"] != "none":  # each region in the first blocks
        blocks = torch.arange(BLOCKS_KEPT).expand(2, regions, -1)
        features = torch.cat([features, blocks, torch.full_like(blocks, 1) / BLOCKS_KEPT], -1)
    tokens = torch.tensor([[0, last, 0], [last, 0, 0]])
    try:
        words = matcher.words(tokens, torch.tensor([3, 2]))
        scores = matcher(AllPairs(matcher.regions(features), words))
    except BROKEN as error:
        raise InputError(
            "the trial run failed", file=path, found=plain(f"{type(error).__name__}: {error}")
        ) from None
    if scores.shape != (2, 2) or not scores.isfinite().all():
        raise InputError(
            "the trial run failed", file=path, expected="finite scores", found=scores.tolist()
        )


def _account(imported: Imported, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``import.json``."""
    return {
        "options": {
            plain(name): value if isinstance(value, Scalar | None) else plain(value)
            for name, value in options.items()
        },
        "used": imported.used,
        "unused": imported.unused,
    }
