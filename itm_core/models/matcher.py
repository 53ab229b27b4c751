"""What every matcher is: two encoders and a rule that scores pairs, and can explain itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from itm_core.encoders.encoder import EncoderSettings, RegionEncoder, make_word_encoder
from itm_core.encoders.fragments import Fragments
from itm_core.encoders.lazy import lazy
from itm_core.models.attention import one_hot
from itm_core.models.pairing import REGIONS, WORDS, Matched, Pairing, other
from itm_core.regulators import AttentionControl

DIRECTIONS: dict[str, dict[str, int]] = {  # who asks whom: the sides that are asked
    "t2i": {"t2i": REGIONS},
    "i2t": {"i2t": WORDS},
    "both": {"t2i": REGIONS, "i2t": WORDS},
}


@dataclass(frozen=True, eq=False)
class AttentionPass:
    """One pass of attention: who looked where.

    Attributes:
        axis: the asked side, `REGIONS` or `WORDS`.
        dots: ``[C, L, P, R]`` dot products of what asked with what was asked.
        soft: ``[C, L, P, R]`` attention, as `weights`; None where assignment is hard.
        query: ``[C, L, 1, 1, D]`` words or ``[1 or C, 1, P, R, D]`` regions: what asked.
        steering: what the pass was told.
        chosen: the place of the one fragment that hard assignment keeps, 1 on the asked axis.
    """

    pairing: Pairing
    axis: int
    dots: Tensor
    soft: Tensor | None
    query: Tensor
    steering: AttentionControl
    chosen: Tensor | None = None

    @lazy
    def weights(self) -> Tensor:
        """``[C, L, P, R]`` attention; sums to one over the asked side."""
        if self.soft is not None:
            return self.soft
        assert self.chosen is not None  # one of the two is always there
        return one_hot(self.chosen, self.dots, self.axis)


@dataclass(frozen=True, eq=False)
class DirectionOutput:
    """How one direction of a matcher came to its score; the asked axis has size 1 where marked *.

    Attributes:
        axis: the asked side, `REGIONS` (words ask) or `WORDS`.
        passes: the passes of attention, the last one last. Without ``explain`` only that one.
        relevance: ``[C, L, P, R]*`` cosine of each query with what it saw; None where similarity
            vectors are compared instead.
        pooling: aggregation weights of each step, ``[C, L, P, R]*``.
        score: ``[C, P]``, this direction's part.
        contribution: ``[C, L, P, R]*`` each query's share of the score; None unless explained.
        bias: ``[C, P]`` what no query accounts for: a whole-image similarity, a bias.
    """

    axis: int
    passes: Sequence[AttentionPass]
    score: Tensor
    relevance: Tensor | None = None
    pooling: Sequence[Tensor] = ()
    contribution: Tensor | None = None
    bias: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """``[C, L, P, R]`` attention of the last pass."""
        return self.passes[-1].weights

    @property
    def asking(self) -> int:
        """The axis of the queries."""
        return other(self.axis)


@dataclass(frozen=True, eq=False)
class MatchOutput:
    """The scores of a pairing, ``[C, P]``, and one `DirectionOutput` for each direction.

    A matcher that compares whole vectors has no looks, and a score alone.
    """

    score: Tensor
    directions: Sequence[DirectionOutput] = ()

    def total(self) -> Tensor:
        """Return the score put together from contributions and rest, ``[C, P]``.

        Without looks it is the score itself. Raises ValueError unless `Matcher.match` was asked to
        ``explain``.
        """
        if not self.directions:
            return self.score
        parts = []
        for look in self.directions:
            if look.contribution is None or look.bias is None:
                raise ValueError("this reading was made without explain=True")
            parts.append(look.contribution.sum((1, 3)) + look.bias)
        return sum(parts[1:], parts[0])


class Matcher(nn.Module, ABC):
    """Scores images against captions.

    A method is one subclass with one method of its own: `match`, written for any `Pairing`.

    Attributes:
        scope: what a pair's score depends on in training: the ``pair`` alone, or its ``caption``
            with all images of the batch (batch statistics).
        forms_vectors: whether attended vectors are formed in full, which sizes the tiles.
    """

    scope = "pair"
    forms_vectors = False

    def __init__(
        self,
        feature_width: int,
        vocabulary_size: int,
        encoder: EncoderSettings,
        region_count: int = 36,
    ) -> None:
        super().__init__()
        self.regions = RegionEncoder(feature_width, encoder, region_count)
        self.words = make_word_encoder(vocabulary_size, encoder)

    @abstractmethod
    def match(self, pairing: Pairing, *, explain: bool = False) -> MatchOutput:
        """Return the scores of a pairing and how they came about.

        ``explain`` keeps every pass and splits the score into contributions.
        """

    def attend(self, pairing: Pairing) -> Sequence[AttentionPass]:
        """Return the last pass of attention of each direction; empty without attention."""
        return [look.passes[-1] for look in self.match(pairing).directions]

    def forward(self, pairing: Pairing) -> Tensor:
        """Return scores ``[C, P]`` of the pairing's captions and their partners."""
        return self.match(pairing).score

    def explain(self, regions: Fragments, words: Fragments) -> MatchOutput:
        """Return how the i-th image and the i-th caption were scored, step by step.

        Shapes are those of `DirectionOutput` with P = 1; contributions and bias add up to the
        score.
        Raises ValueError when counts differ.
        """
        return self.match(Matched(regions, words), explain=True)
