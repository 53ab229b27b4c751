"""Ranking losses over a square score matrix whose diagonal holds the matching pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from itm_core.settings import NotNegative, Positive, Settings, name_in, positive, registered


class LossSettings(Settings):
    """Which ranking loss.

    Attributes:
        kind: ``hinge``, or ``info_nce`` (in CHAN's code, used by none of its scripts).
        margin: by how much a matching pair must exceed the others.
        hardest: hinge: only the hardest negative of each row and column counts (VSE++), or all.
        warmup_epochs: epochs trained with all negatives before ``hardest`` takes effect.
        temperature: of InfoNCE.
    """

    part: ClassVar[str] = "loss"
    kind: Annotated[str, name_in(lambda: LOSSES)] = "hinge"
    margin: NotNegative = 0.2
    hardest: bool = True
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    temperature: Positive = 0.01

    @model_validator(mode="after")
    def _require_margin(self) -> Self:
        if self.kind == "hinge":  # without a margin there is nothing to learn
            positive("loss.margin", self.margin)
        return self


def hinge(scores: Tensor, margin: float = 0.2, *, hardest: bool = True) -> Tensor:
    """Return the hinge loss of a batch, summed over both directions (SCAN equations 11-12).

    ``max(0, margin + s[i, j] - s[i, i])`` for each wrong caption j of image i, and the same for
    the wrong images of each caption. ``hardest`` keeps the largest of each row and column,
    otherwise all are added. A sum, not a mean, as in the released code of every host.

    Shapes: ``scores [n, n]`` (images, captions), matching pairs on the diagonal; result ``[]``.

    >>> round(hinge(torch.tensor([[0.9, 0.8], [0.1, 0.7]]), 0.2).item(), 4)  # 0.1 + 0.3
    0.4
    """
    matching = scores.diagonal()
    diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    of_image = (margin + scores - matching[:, None]).clamp_min(0).masked_fill(diagonal, 0)
    of_caption = (margin + scores - matching[None, :]).clamp_min(0).masked_fill(diagonal, 0)
    if hardest:
        return of_image.max(1).values.sum() + of_caption.max(0).values.sum()
    return of_image.sum() + of_caption.sum()


def info_nce(scores: Tensor, temperature: float = 0.01, margin: float = 0.0) -> Tensor:
    """Return the contrastive loss with a softmax, a mean over rows plus a mean over columns.

    ``mean_i log(1 + sum_{j != i} exp((s_ij - s_ii + m) / tau))``, as in CHAN's code; by
    logsumexp, which does not overflow where the release does.

    Shapes: ``scores [n, n]``, matching pairs on the diagonal; result ``[]``.
    """
    diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    matching = scores.diagonal()
    of_image = ((scores - matching[:, None] + margin) / temperature).masked_fill(diagonal, 0)
    of_caption = ((scores - matching[None, :] + margin) / temperature).masked_fill(diagonal, 0)
    return of_image.logsumexp(1).mean() + of_caption.logsumexp(0).mean()


LOSSES: dict[str, Callable[[Tensor, LossSettings, bool], Tensor]] = {
    "hinge": lambda scores, loss, hardest: hinge(scores, loss.margin, hardest=hardest),
    "info_nce": lambda scores, loss, _: info_nce(scores, loss.temperature, loss.margin),
}


def ranking_loss(scores: Tensor, settings: LossSettings, *, hardest: bool) -> Tensor:
    """Return the loss of the settings; ``scores [n, n]`` as in `hinge`."""
    return registered("loss.kind", settings.kind, LOSSES)(scores, settings, hardest)
