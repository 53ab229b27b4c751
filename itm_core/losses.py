"""Ranking losses over a square score matrix whose diagonal holds the matching pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itm_core.settings import at_least, positive


@dataclass(frozen=True, kw_only=True)
class HingeSettings:
    """The hinge loss of VSE++, used by every host.

    Attributes:
        margin: by how much the matching pair must win.
        hardest: only the hardest negative of each row and column counts (VSE++), or all do.
        warmup_epochs: epochs trained with all negatives before ``hardest`` takes effect.
    """

    margin: float = 0.2
    hardest: bool = True
    warmup_epochs: int = 0

    def __post_init__(self) -> None:
        positive("loss.margin", self.margin)
        at_least("loss.warmup_epochs", self.warmup_epochs, 0)


def hinge(scores: Tensor, margin: float = 0.2, *, hardest: bool = True) -> Tensor:
    """Return the hinge loss of a batch, summed over both directions (SCAN equations 11-12).

    ``max(0, margin + s[i, j] - s[i, i])`` for each wrong caption j of image i, and the same for
    the wrong images of each caption. ``hardest`` keeps the largest of each row and column,
    otherwise all are added. A sum, not a mean, as in the released code of every host.

    Shapes: ``scores [n, n]`` (images, captions), matching pairs on the diagonal; result ``[]``.

    >>> round(hinge(torch.tensor([[0.9, 0.8], [0.1, 0.7]]), 0.2).item(), 4)  # 0.1 + 0.3
    0.4
    """
    right = scores.diagonal()
    diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    of_image = (margin + scores - right[:, None]).clamp_min(0).masked_fill(diagonal, 0)
    of_caption = (margin + scores - right[None, :]).clamp_min(0).masked_fill(diagonal, 0)
    if hardest:
        return of_image.max(1).values.sum() + of_caption.max(0).values.sum()
    return of_image.sum() + of_caption.sum()
