"""Whole against whole: one vector for an image, one for a caption (VSE++, VSE-infinity, VSRN).

No fragment meets another, so an image and a caption cost one dot product: these are the fast
first stage before a method that attends.

Page: "The hosts".
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import length
from itm_core.errors import InputError
from itm_core.models.matcher import Matcher, MatchOutput
from itm_core.models.pairing import AllPairs, Pairing
from itm_core.settings import Settings, name_in

MEASURES = ("cosine", "order")


class PooledSettings(Settings):
    """How two whole vectors are compared.

    Attributes:
        measure: ``cosine``, or ``order``: the violation of VSE++'s order embedding,
            ``-|max(0, caption - image)|``.
        absolute: compare absolute values, as order embeddings need.
    """

    part: ClassVar[str] = "matcher"
    measure: Annotated[str, name_in(MEASURES)] = "cosine"
    absolute: bool = False


class Pooled(Matcher):
    """Compares whole vectors, which the encoders make at unit length (see `pooling`).

    Raises `InputError` when an encoder makes none.
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
                "this matcher compares whole vectors",
                found="encoder.image_pooling or encoder.text_pooling is none",
                expected="a pooling for both, such as mean, max or gpo",
            )
        super().__init__(feature_width, vocabulary_size, encoder, region_count)
        self.settings = settings

    def match(self, pairing: Pairing, *, explain: bool = False) -> MatchOutput:
        """Return the scores of a pairing; there is nothing more to say about them."""
        captions, partners = pairing.wholes()
        if self.settings.absolute:
            captions, partners = captions.abs(), partners.abs()
        if self.settings.measure == "order":
            return MatchOutput(-length((captions - partners).clamp_min(0)).squeeze(-1))
        if isinstance(pairing, AllPairs):
            return MatchOutput(captions[:, 0] @ partners[0].T)
        return MatchOutput((captions * partners).sum(-1))
