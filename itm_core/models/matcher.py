"""The interface of a matcher: two encoders and a score for each image-caption pair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from itm_core.encoders.encoder import EncoderSettings, RegionEncoder, make_word_encoder
from itm_core.encoders.fragments import Fragments
from itm_core.models.former_parameters import present_name
from itm_core.models.pairing import REGIONS, WORDS, Matched, Pairing, query_axis_of
from itm_core.models.regulation import AttentionPass

DIRECTIONS: dict[str, dict[str, int]] = {  # the key axis of each direction
    "t2i": {"t2i": REGIONS},
    "i2t": {"i2t": WORDS},
    "both": {"t2i": REGIONS, "i2t": WORDS},
}


@dataclass(frozen=True, eq=False)
class DirectionOutput:
    """The score of one direction, explained; the key axis has size 1 where marked ``*``.

    Attributes:
        key_axis: `REGIONS` (t2i) or `WORDS` (i2t).
        passes: of attention, in order.
        score: ``[C, P]``, this direction's part of the score.
        contribution: ``[C, L, P, R]*`` each query's contribution to the score.
        bias: ``[C, P]``, a global similarity or a bias: score less all contributions.
        relevance: ``[C, L, P, R]*`` what is aggregated: a cosine with the attended vector, of hard
            attention the chosen dot product, of IMRAM the sum over its passes; None with
            similarity vectors.
        pooling: aggregation weights of each step, ``[C, L, P, R]*``.
    """

    key_axis: int
    passes: Sequence[AttentionPass]
    score: Tensor
    contribution: Tensor
    bias: Tensor
    relevance: Tensor | None = None
    pooling: Sequence[Tensor] = ()

    @property
    def weights(self) -> Tensor:
        """``[C, L, P, R]`` attention of the last pass."""
        return self.passes[-1].weights

    @property
    def query_axis(self) -> int:
        """The axis of the queries."""
        return query_axis_of(self.key_axis)


@dataclass(frozen=True, eq=False)
class MatchOutput:
    """The scores of a pairing, ``[C, P]``, and one `DirectionOutput` for each direction, if any."""

    score: Tensor
    directions: Sequence[DirectionOutput] = ()

    def total(self) -> Tensor:
        """Return the sum of contributions and bias, ``[C, P]``; the score without directions."""
        if not self.directions:
            return self.score
        parts = [output.contribution.sum((1, 3)) + output.bias for output in self.directions]
        return sum(parts[1:], parts[0])


class Matcher(nn.Module, ABC):
    """Scores images against captions.

    A subclass writes `forward`, and `match` and `attend` if it has attention, for any `Pairing`.

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
        self.register_load_state_dict_pre_hook(_rename_former)

    @abstractmethod
    def forward(self, pairing: Pairing) -> Tensor:
        """Return scores ``[C, P]`` of the pairing's captions and their partners."""

    def match(self, pairing: Pairing) -> MatchOutput:
        """Return the scores of a pairing with their explanation: passes and contributions."""
        return MatchOutput(self(pairing))

    def attend(self, pairing: Pairing) -> Sequence[AttentionPass]:
        """Return the last pass of attention of each direction; empty without attention."""
        return []

    def explain(self, regions: Fragments, words: Fragments) -> MatchOutput:
        """Return the explained scores of matched pairs, see `Matched` for what it raises."""
        return self.match(Matched(regions, words))


def _rename_former(matcher: nn.Module, weights: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename weights that were saved under former names, before they are loaded."""
    names = matcher.state_dict()  # a regulator of one's own may use a former name
    for name in [name for name in weights if name.startswith(prefix)]:
        saved = name.removeprefix(prefix)
        if saved not in names:
            weights[prefix + present_name(saved)] = weights.pop(name)
