"""What every matcher is: two encoders and a rule that scores pairs, and can explain itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from itm_core.encoders import EncoderSettings, RegionEncoder, WordEncoder
from itm_core.fragments import Fragments
from itm_core.pairing import Matched, Pairing


@dataclass(frozen=True, eq=False)
class Reading:
    """How a score came about, for every caption and partner of a pairing.

    Attributes:
        score: ``[C, P]``.
        weights: ``[C, L, P, R]`` attention; sums to one over the asked side.
        relevance: ``[C, L, P, 1]`` (words ask) or ``[C, 1, P, R]`` (regions ask).
        contribution: as ``relevance``; adds up to the score. Filled by `Matcher.explain`.
        asked: the axis that was attended, `REGIONS` or `WORDS`.
    """

    score: Tensor
    weights: Tensor
    relevance: Tensor
    asked: int
    contribution: Tensor | None = None


class Matcher(nn.Module, ABC):
    """Scores images against captions.

    A method is one subclass with one method of its own: `read`, written for any `Pairing`.

    Attributes:
        scores_pairs_independently: whether a pair's score depends on that pair alone (False for
            matchers with batch statistics, whose training must see all pairs at once).
    """

    scores_pairs_independently = True

    def __init__(self, feature_width: int, vocabulary_size: int, encoder: EncoderSettings) -> None:
        super().__init__()
        self.regions = RegionEncoder(feature_width, encoder)
        self.words = WordEncoder(vocabulary_size, encoder)

    @abstractmethod
    def read(self, pairing: Pairing) -> Reading:
        """Return the scores of a pairing and how they came about."""

    @abstractmethod
    def contribution(self, reading: Reading, pairing: Pairing) -> Tensor:
        """Return each query's share of the score, shaped as the relevance."""

    def forward(self, pairing: Pairing) -> Tensor:
        """Return scores ``[C, P]`` of the pairing's captions and their partners."""
        return self.read(pairing).score

    def explain(self, regions: Fragments, words: Fragments) -> Reading:
        """Return how the i-th image and the i-th caption were scored, shares included.

        Shapes are those of `Reading` with P = 1. Raises ValueError when counts differ.
        """
        pairing = Matched(regions, words)
        seen = self.read(pairing)
        share = self.contribution(seen, pairing)
        return Reading(seen.score, seen.weights, seen.relevance, seen.asked, share)
