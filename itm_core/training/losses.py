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
        margin: by how much a matching pair must exceed the others; 0 in CHAN's InfoNCE.
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

    def sums_pairs(self, *, hardest: bool) -> bool:
        """Whether the loss is a sum over pairs, each depending on its score and matching ones."""
        return self.kind == "hinge" and not hardest


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
    of_image, of_caption = _violations(scores, matching, matching, diagonal, margin)
    if hardest:
        return of_image.max(1).values.sum() + of_caption.max(0).values.sum()
    return of_image.sum() + of_caption.sum()


def hinge_of_captions(
    scores: Tensor, matching: Tensor, captions: Tensor, margin: float = 0.2
) -> Tensor:
    """Return the part of `hinge` with all negatives that belongs to some captions of a batch.

    The parts of all captions add up to the loss. A caption's part needs its own scores and those
    of the matching pairs, so that it can be computed before the other captions are scored.

    Shapes: ``scores [n, c]`` of all images with the captions ``[c]`` (indices in the batch),
    ``matching [n]``; result ``[]``. The matching pairs in ``scores`` are not read.

    >>> S = torch.tensor([[0.9, 0.8], [0.1, 0.7]])
    >>> round(hinge_of_captions(S[:, 1:], S.diagonal(), torch.tensor([1]), 0.2).item(), 4)
    0.4
    """
    images = torch.arange(len(scores), device=scores.device)
    own = images[:, None] == captions
    of_image, of_caption = _violations(scores, matching, matching[captions], own, margin)
    return of_image.sum() + of_caption.sum()


def _violations(
    scores: Tensor, of_images: Tensor, of_captions: Tensor, own: Tensor, margin: float
) -> tuple[Tensor, Tensor]:
    """Return by how much each pair violates the margin to its image's and its caption's match.

    Shapes: ``scores [n, c]``, matching scores ``of_images [n]`` and ``of_captions [c]``; ``own
    [n, c]`` is True where a pair matches, which violates nothing.
    """
    of_image = (margin + scores - of_images[:, None]).clamp_min(0).masked_fill(own, 0)
    of_caption = (margin + scores - of_captions[None, :]).clamp_min(0).masked_fill(own, 0)
    return of_image, of_caption


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
