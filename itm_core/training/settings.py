"""The settings of a training, and which parts of a recipe the trainer reads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, ClassVar, Protocol, Self

import torch
from pydantic import Field, model_validator

from itm_core.constraints import ConstraintSettings
from itm_core.errors import InputError
from itm_core.evaluation.scoring import PRECISIONS
from itm_core.settings import Count, Fraction, NotNegative, Positive, Settings, Times, name_in
from itm_core.training.feature_cache import FEATURE_CACHES
from itm_core.training.losses import LossSettings

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    # one pass over the weights in the place of a dozen
    "adam": partial(torch.optim.Adam, fused=True),
    "adamw": partial(torch.optim.AdamW, fused=True),
}
TRAINING_PRECISIONS = (*PRECISIONS, "float64")


class TrainingSettings(Settings):
    """How a matcher is trained.

    Attributes:
        epochs: passes over the training captions.
        batch: caption-image pairs per step.
        learning_rate: of the optimiser.
        bert_learning_rate: of BERT's own weights (CHAN); ``None`` takes ``learning_rate``.
        lr_decay_epochs: epochs after which the rate is multiplied by 0.1, again and again.
        optimiser: ``adam``, or ``adamw`` with its decoupled decay.
        weight_decay: of AdamW, on every parameter, biases included.
        grad_clip: largest norm of the whole gradient.
        region_dropout: share of the regions left out of a training image (CHAN, VSE-infinity).
        token_dropout: share of the tokens masked, exchanged or left out of a training caption.
        keep_special_tokens: ``<start>`` and ``<end>`` are never dropped (RCAR; not in CHAN).
        drop_last: leave out the last, smaller batch of an epoch.
        train_images: images of the training split that are trained on, the first ones with their
            captions; the vocabulary stays that of the whole split. ``None`` takes all.
        dev_images: images of the development split used to choose the best epoch; the loaders
            of SCAN, BFAN and SGRAF take the first 1,000. ``None`` takes all.
        precision: ``float32``, or ``float64`` for weights and features in double precision; on
            CUDA also ``tf32``, or ``bfloat16`` for mixed precision.
        averaging: share of all steps, the last ones, whose weights are averaged; the average is
            what is evaluated and kept from its first step on. 0 evaluates the weights themselves.
        feature_cache: ``auto`` keeps the features on a GPU with room, ``float16`` halves them,
            ``never`` copies each batch.
    """

    part: ClassVar[str] = "training"
    epochs: Times = 30
    batch: Annotated[int, Field(ge=2, le=10**6)] = 128
    learning_rate: Positive = 2e-4
    bert_learning_rate: Positive | None = None
    lr_decay_epochs: Count = 15
    optimiser: Annotated[str, name_in(OPTIMISERS)] = "adam"
    weight_decay: NotNegative = 0.0
    grad_clip: Positive = 2.0
    region_dropout: Fraction = 0.0
    token_dropout: Fraction = 0.0
    keep_special_tokens: bool = False
    drop_last: bool = False
    train_images: Count | None = None
    dev_images: Count | None = 1000
    precision: Annotated[str, name_in(TRAINING_PRECISIONS)] = "float32"
    averaging: Fraction = 0.0
    feature_cache: Annotated[str, name_in(FEATURE_CACHES)] = "auto"

    @model_validator(mode="after")
    def _check_weight_decay(self) -> Self:
        if self.weight_decay and self.optimiser == "adam":
            raise InputError(
                "weight decay needs AdamW",
                found=f"training.weight_decay={self.weight_decay} with adam",
                remedy="set training.optimiser=adamw, or training.weight_decay=0",
            )
        return self


class TrainingRecipe(Protocol):
    """The parts of a recipe that the trainer reads, and its name."""

    name: str
    loss: LossSettings
    constraints: ConstraintSettings
    training: TrainingSettings
