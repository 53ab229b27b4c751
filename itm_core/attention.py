"""Who looks at what: soft attention and its normalisations.

SCAN equations 1-2 (image-text) and 6-7 (text-image); the default of the whole family,
``clipped_l2norm``, is equation 1 with the slope of the released code.

Page: the SCAN chapter, "Attend".
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from itm_core.fragments import TINY, length
from itm_core.pairing import Pairing, other

SLOPE = 0.1  # the paper prints max(s, 0); the released code of all hosts leaks a tenth
NORMALISATIONS = (
    "clipped_l2norm",
    "clipped_l1norm",
    "clipped",
    "l2norm",
    "l1norm",
    "softmax",
    "no_norm",
)


def normalise(
    S: Tensor, kind: str, axis: int, mask: Tensor | None = None, *, scale: float = 1.0
) -> Tensor:
    """Return the dot products ``S`` normalised along ``axis``, the asking side.

    Each asked fragment spreads what it receives over those who ask, so that a fragment similar
    to everything draws no more attention than one that is similar to a single query.

    Args:
        S: ``[C, L, P, R]`` dot products.
        kind: one of `NORMALISATIONS`.
        axis: `WORDS` when words ask (t2i), `REGIONS` when regions ask (i2t).
        mask: True where a query is real; padded queries (zero vectors) add nothing to a norm,
            so only ``softmax`` needs it.
        scale: multiplies the result; dividing by ``norm / scale`` saves a pass over it.
    """
    if kind == "softmax":
        shown = S if mask is None else S.masked_fill(~mask, -torch.inf)
        return shown.softmax(axis) * scale
    if kind.startswith("clipped"):
        S = leaky_relu(S, SLOPE)
    if kind.endswith("l2norm"):
        return S * (scale / (length(S, axis) + TINY))
    if kind.endswith("l1norm"):
        return S * (scale / (S.abs().sum(axis, keepdim=True) + TINY))
    return S * scale


def attend(S: Tensor, pairing: Pairing, axis: int, *, kind: str, temperature: float) -> Tensor:
    """Return attention weights over the fragments on ``axis``, summing to one for each query.

    ``softmax(temperature * normalise(S))``: SCAN equations 2 and 7, with lambda_1 the
    temperature. ``axis`` is the *asked* side: `REGIONS` for t2i, `WORDS` for i2t.

    Shapes: ``S`` and the result are ``[C, L, P, R]``. Padded fragments get weight zero.
    """
    asking = other(axis)
    Z = normalise(S, kind, asking, pairing.mask(asking), scale=temperature)
    mask = pairing.mask(axis)
    if mask is not None:
        Z = Z.masked_fill(~mask, -torch.inf)
    return Z.softmax(axis)
