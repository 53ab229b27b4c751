"""The matcher of pooled vectors: one for an image, one for a caption (VSE++, VSE-infinity, VSRN).

A pair costs one dot product: these methods are the fast first stage before cross-attention.

Page: "Every method".
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from torch import Tensor

from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import length
from itm_core.errors import InputError
from itm_core.models.matcher import Matcher
from itm_core.models.pairing import AllPairs, Pairing
from itm_core.settings import Settings, name_in


class PooledSettings(Settings):
    """How two pooled vectors are compared.

    Attributes:
        measure: ``cosine``, or ``order`` (VSE++'s order embedding): ``-|max(0, caption - image)|``.
        absolute: compare absolute values, for order embeddings.
    """

    part: ClassVar[str] = "matcher"
    measure: Annotated[str, name_in(("cosine", "order"))] = "cosine"
    absolute: bool = False


class Pooled(Matcher):
    """Compares the pooled vectors of the encoders, which have unit length (see `pooling`).

    Raises `InputError` for an encoder without pooling.
    """

    def __init__(
        self,
        feature_width: int,
        vocabulary_size: int,
        encoder: EncoderSettings,
        settings: PooledSettings,
        region_count: int = 36,
    ) -> None:
        if "none" in (encoder.image_pooling, encoder.text_pooling):
            raise InputError(
                "this matcher compares pooled vectors",
                found="encoder.image_pooling or encoder.text_pooling is none",
                expected="a pooling for both, such as mean, max or gpo",
            )
        super().__init__(feature_width, vocabulary_size, encoder, region_count)
        self.settings = settings

    def forward(self, pairing: Pairing) -> Tensor:
        """Return the scores of a pairing."""
        captions, partners = pairing.pooled()
        if self.settings.absolute:
            captions, partners = captions.abs(), partners.abs()
        if self.settings.measure == "order":
            return -length((captions - partners).clamp_min(0)).squeeze(-1)
        if isinstance(pairing, AllPairs):
            return captions[:, 0] @ partners[0].T
        return (captions * partners).sum(-1)
