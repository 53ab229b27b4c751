"""SCAN: stacked cross attention (Lee, Chen, Hua, Hu, He; ECCV 2018).

Each query attends to the fragments of the other side, is compared with what it saw, and the
comparisons are aggregated into one score. Words ask regions (t2i) or regions ask words (i2t).

Page: the SCAN chapter.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from itm_core.aggregation import AGGREGATIONS, aggregate, contributions
from itm_core.alignment import cosine
from itm_core.attention import NORMALISATIONS, attend
from itm_core.encoders import EncoderSettings
from itm_core.matchers.base import Matcher, Reading
from itm_core.pairing import REGIONS, WORDS, Pairing, other
from itm_core.settings import one_of, positive

DIRECTIONS = {"t2i": REGIONS, "i2t": WORDS}  # the side that is asked


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """SCAN's choices.

    Attributes:
        direction: ``t2i`` (words ask, regions answer) or ``i2t``.
        normalisation: of the dot products before the softmax, see `attention.normalise`.
        attention_temperature: lambda_1; 9 for t2i and 4 for i2t in the paper.
        aggregation: ``mean`` (the paper's AVG), ``LSE``, ``max`` or ``sum``.
        lse_temperature: lambda_2; used by LSE alone.
    """

    direction: str = "t2i"
    normalisation: str = "clipped_l2norm"
    attention_temperature: float = 9.0
    aggregation: str = "mean"
    lse_temperature: float = 6.0

    def __post_init__(self) -> None:
        one_of("matcher.direction", self.direction, DIRECTIONS)
        one_of("matcher.normalisation", self.normalisation, NORMALISATIONS)
        one_of("matcher.aggregation", self.aggregation, AGGREGATIONS)
        positive("matcher.attention_temperature", self.attention_temperature)
        positive("matcher.lse_temperature", self.lse_temperature)


class Scan(Matcher):
    """Attend, align, aggregate: SCAN equations 1-10.

    >>> matcher = Scan(2048, 100, EncoderSettings(embedding=64), ScanSettings())
    """

    def __init__(
        self,
        feature_width: int,
        vocabulary_size: int,
        encoder: EncoderSettings,
        settings: ScanSettings,
    ) -> None:
        super().__init__(feature_width, vocabulary_size, encoder)
        self.settings = settings
        self.asked = DIRECTIONS[settings.direction]

    def read(self, pairing: Pairing) -> Reading:
        """Return the scores of a pairing and how they came about."""
        s, asking = self.settings, other(self.asked)
        S = pairing.dot()
        A = attend(
            S, pairing, self.asked, kind=s.normalisation, temperature=s.attention_temperature
        )
        relevance = cosine(S, A, pairing, self.asked)
        score = aggregate(
            relevance,
            asking,
            kind=s.aggregation,
            temperature=s.lse_temperature,
            mask=pairing.mask(asking),
        )
        return Reading(score, A, relevance, self.asked)

    def contribution(self, reading: Reading, pairing: Pairing) -> Tensor:
        """Return each query's share of the score (see `aggregation.contributions`)."""
        asking = other(self.asked)
        return contributions(
            reading.relevance,
            asking,
            kind=self.settings.aggregation,
            temperature=self.settings.lse_temperature,
            mask=pairing.mask(asking),
        )
