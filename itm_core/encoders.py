"""Regions and words into one space: the encoders that SCAN and its family share.

Page: the SCAN chapter, "Encode".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from itm_core.fragments import Fragments, l2norm
from itm_core.settings import at_least


@dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """How regions and words become vectors.

    Attributes:
        embedding: D, the width of the common space.
        word_width: width of the word vectors that enter the GRU.
        gru_layers: GRU layers.
        bidirectional: average a forward and a backward GRU, or keep one direction.
        normalise_regions, normalise_words: give embeddings unit length
            (off: the release's ``no_imgnorm``, ``no_txtnorm``).
        weight_norm: reparametrise the region layer as direction and length
            (the release's ``precomp_enc_type=weight_norm``).
    """

    embedding: int = 1024
    word_width: int = 300
    gru_layers: int = 1
    bidirectional: bool = True
    normalise_regions: bool = True
    normalise_words: bool = True
    weight_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("embedding", "word_width", "gru_layers"):
            at_least(f"encoder.{name}", getattr(self, name), 1)


class RegionEncoder(nn.Module):
    """One linear layer per region, then unit length (SCAN section 3.2, equation before 1).

    >>> RegionEncoder(2048, EncoderSettings(embedding=8))(torch.randn(2, 36, 2048)).vectors.shape
    torch.Size([2, 36, 8])
    """

    def __init__(self, feature_width: int, settings: EncoderSettings) -> None:
        super().__init__()
        fc = nn.Linear(feature_width, settings.embedding)
        bound = math.sqrt(6 / (fc.in_features + fc.out_features))  # Xavier, as the release does
        nn.init.uniform_(fc.weight, -bound, bound)
        nn.init.zeros_(fc.bias)
        self.fc = fc
        if settings.weight_norm:  # one length for the whole matrix, as in the release
            self.fc = weight_norm(fc, dim=None)  # type: ignore[arg-type]
        self.normalised = settings.normalise_regions

    def forward(self, features: Tensor, lens: Tensor | None = None) -> Fragments:
        """Return regions ``[I, R, D]`` of features ``[I, R, F]``."""
        vectors = self.fc(features)
        return Fragments.of(l2norm(vectors) if self.normalised else vectors, lens)


class WordEncoder(nn.Module):
    """A GRU over word vectors, its two directions averaged, then unit length (SCAN 3.3)."""

    def __init__(self, vocabulary_size: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, settings.word_width)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.rnn = nn.GRU(
            settings.word_width,
            settings.embedding,
            settings.gru_layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
        )
        self.normalised = settings.normalise_words

    def forward(self, tokens: Tensor, lens: Tensor) -> Fragments:
        """Return words ``[C, L, D]`` of token ids ``[C, L]``; zero beyond each length."""
        packed = pack_padded_sequence(
            self.embed(tokens), lens.cpu(), batch_first=True, enforce_sorted=False
        )
        vectors, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        if self.rnn.bidirectional:
            vectors = torch.stack(vectors.chunk(2, dim=-1)).mean(0)
        return Fragments.of(l2norm(vectors) if self.normalised else vectors, lens)
