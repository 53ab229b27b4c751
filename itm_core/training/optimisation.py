"""One update of the weights: the rate of an epoch, the optimiser, the clipped step.

Page: "The task", "How it is trained".
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from itm_core.constraints import ConstraintSettings
from itm_core.evaluation.scoring import matmul_precision
from itm_core.models import Matcher
from itm_core.settings import registered
from itm_core.training.distributed import SINGLE_PROCESS, ProcessGroup
from itm_core.training.gradients import Batch, gradient_step
from itm_core.training.losses import LossSettings
from itm_core.training.settings import OPTIMISERS, TrainingSettings


def learning_rate(settings: TrainingSettings, epoch: int) -> float:
    """Return the rate of an epoch (from 0): multiplied by 0.1 every ``lr_decay_epochs`` epochs."""
    return settings.learning_rate * 0.1 ** (epoch // settings.lr_decay_epochs)


def make_optimiser(matcher: Matcher, training: TrainingSettings) -> torch.optim.Optimizer:
    """Return the recipe's optimiser; BERT's weights are a group with a separate rate."""
    bert: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, parameter in matcher.named_parameters():
        (bert if name.startswith("words.bert.") else others).append(parameter)
    rate = training.learning_rate
    groups: list[dict[str, Any]] = [{"params": others, "scale": 1.0}]
    if bert:
        groups.append({"params": bert, "scale": (training.bert_learning_rate or rate) / rate})
    make = registered("training.optimiser", training.optimiser, OPTIMISERS)
    return make(groups, lr=rate, weight_decay=training.weight_decay)


def train_step(
    matcher: Matcher,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    loss: LossSettings,
    training: TrainingSettings,
    *,
    hardest: bool,
    constraints: ConstraintSettings | None = None,
    generator: torch.Generator | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> tuple[float, Tensor]:
    """Update the weights once; return the loss, and the norm of the gradient before clipping.

    With a loss that is not finite nothing is updated and the norm is NaN.
    """
    optimiser.zero_grad(set_to_none=True)
    # in double precision the weights are double: there is nothing to reduce
    precision = "float32" if training.precision == "float64" else training.precision
    with matmul_precision(next(matcher.parameters()).device, precision):
        value = gradient_step(
            matcher,
            batch,
            loss,
            hardest=hardest,
            constraints=constraints,
            generator=generator,
            group=group,
        )
    if not math.isfinite(value):
        return value, torch.tensor(math.nan)
    norm = torch.nn.utils.clip_grad_norm_(matcher.parameters(), training.grad_clip)
    optimiser.step()
    return value, norm
