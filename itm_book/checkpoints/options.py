"""Family and recipe of a checkpoint, from the options of the authors' release.

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from itm_book.checkpoints.authors_options import MARKS, SETTINGS, family_named
from itm_book.checkpoints.reading import plain
from itm_core.encoders.encoder import EncoderSettings
from itm_core.errors import InputError
from itm_core.experiments.methods import METHODS
from itm_core.experiments.recipes import Recipe
from itm_core.regulators import RegulatorSettings
from itm_core.training.losses import LossSettings
from itm_core.training.settings import TrainingSettings

# a recipe of each family's paper
METHOD_OF = {
    "rcar": "rcar-t2i",
    "sgraf": "saf",
    "bfan": "bfan-prob",
    "imram": "imram-full",
    "pfan": "pfan-t2i",
    "chan": "chan",
    "scan": "scan-t2i-mean",
    "vsrn": "vsrn",
    "vseinf": "vse-gpo",
    "vsepp": "vse-mean",
}
TRAINING = {  # option -> setting; other options do not affect scores
    "num_epochs": "epochs",
    "batch_size": "batch",
    "learning_rate": "learning_rate",
    "lr_update": "lr_decay_epochs",
    "grad_clip": "grad_clip",
}
BERT = ("txt_enc.bert.",)  # how the names of weights start
CNN = ("img_enc.cnn.", "img_enc.backbone.")
MAX_LAYERS = 100  # or steps; releases have up to three
BROKEN = (
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    IndexError,
)


def family_of(options: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> str:
    """Return the family of a checkpoint, a key of `METHOD_OF`; raises `InputError`."""
    family = family_named([*options, *weights])
    if family is None:
        marks = ", ".join(dict.fromkeys(mark for mark, _ in MARKS))
        expected = f"an option or a weight whose name starts with one of {marks}"
        raise InputError("unknown method", file=path, expected=expected)
    return family


def require_importable(
    options: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> None:
    """Raise `InputError` for a checkpoint with BERT, or with a network of pictures."""
    if options.get("text_enc_type") == "bert" or _has(weights, BERT):
        raise InputError(
            "a BERT encoder cannot be imported",
            file=path,
            expected="a model with a GRU",
            remedy="train a recipe with BERT, such as chan-bert with encoder.bert set to a folder "
            "with BERT's weights",
        )
    if _has(weights, CNN):
        raise InputError(
            "a CNN encoder cannot be imported",
            file=path,
            expected="a model of precomputed features",
            remedy="take the authors' checkpoint for precomputed features (precomp)",
        )


def _has(weights: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> bool:
    return any(name.startswith(prefixes) for name in weights)


def with_facts(
    options: Mapping[str, Any], weights: Mapping[str, Tensor], family: str
) -> Mapping[str, Any]:
    """Return the options, corrected by what the weights show."""
    if family != "vsrn":
        return options
    # VSRN's variants differ by data set; the batch norm is in the one for Flickr30K alone
    flickr = "img_enc.bn.weight" in weights
    return {**options, "data_name": "f30k_precomp" if flickr else "coco_precomp"}


def no_method(path: Path, error: BaseException) -> InputError:
    """Return the error for options that describe no method."""
    return InputError(
        "the options describe no method",
        file=path,
        found=plain(f"{type(error).__name__}: {error}"),
        remedy="get the file again from its authors",
    )


def recipe_of(options: Mapping[str, Any], family: str, path: Path) -> Recipe:
    """Return the recipe of the options; raises `InputError` for unsupported ones."""
    try:
        encoder, settings, regulator = SETTINGS[family](options)
        _require_buildable(encoder, settings, regulator)
        return Recipe(
            name=f"imported-{plain(path.name.partition('.')[0])}",
            paper=METHODS[METHOD_OF[family]].paper,
            encoder=encoder,
            matcher=settings,
            regulator=regulator,
            loss=_loss(options),
            training=_training(options),
        )
    except KeyError as error:
        raise InputError(
            "unknown or missing option",
            file=path,
            expected=f"the options of {family.upper()}'s release",
            found=plain(error),
        ) from None
    except InputError as error:
        value = None if error.found is None else plain(error.found)
        raise InputError(
            error.problem, file=path, expected=error.expected, found=value, remedy=error.remedy
        ) from None
    except BROKEN as error:
        raise no_method(path, error) from None


def _require_buildable(
    encoder: EncoderSettings, settings: object, regulator: RegulatorSettings
) -> None:
    """Raise `InputError` for more than `MAX_LAYERS` layers or steps."""
    counts = {
        "encoder.gru_layers": encoder.gru_layers,
        "matcher.node_steps": getattr(settings, "node_steps", 1),
        "regulator.steps": regulator.steps,
    }
    for name, count in counts.items():
        if not count <= MAX_LAYERS:
            raise InputError(
                f"{name} is too large", expected=f"up to {MAX_LAYERS}", found=plain(count)
            )


def _training(options: Mapping[str, Any]) -> TrainingSettings:
    """Return the training settings in the options; scores do not depend on them."""
    try:
        return TrainingSettings(
            **{ours: options[o] for o, ours in TRAINING.items() if o in options}
        )
    except (InputError, TypeError):
        return TrainingSettings()


def _loss(options: Mapping[str, Any]) -> LossSettings:
    """Return the loss; after a warm-up, releases train with the hardest negatives."""
    warm = options.get("vse_mean_warmup_epochs")
    try:
        return LossSettings(
            margin=options.get("margin", 0.2),
            hardest=bool(options.get("max_violation", True)) or warm is not None,
            warmup_epochs=warm or 0,
        )
    except (InputError, TypeError):
        return LossSettings()
