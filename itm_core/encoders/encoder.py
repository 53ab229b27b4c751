"""Encoders of regions and words into the common embedding space.

Page: the SCAN chapter, "Encode".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Self

from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from itm_core.encoders.fragments import Fragments, linear
from itm_core.encoders.gru import hidden_states
from itm_core.encoders.pooling import POOLINGS, make_pooling, to_fragments
from itm_core.encoders.positions import POSITION_RULES, POSITION_WIDTH, BlockPositions
from itm_core.encoders.region_blocks import ATTENDING_BLOCKS, HEADS, REGION_BLOCKS, make_block
from itm_core.errors import InputError
from itm_core.settings import Depth, Fraction, Settings, Width, name_in, registered

WORD_INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda vectors: nn.init.uniform_(vectors, -0.1, 0.1),
    "xavier": nn.init.xavier_uniform_,
}


class EncoderSettings(Settings):
    """How regions and words become vectors.

    Attributes:
        embedding: D, the width of the common space.
        word_width: width of the word vectors that enter the GRU.
        gru_layers: GRU layers.
        bidirectional: average a forward and a backward GRU, or keep one direction.
        normalise_regions, normalise_words: give embeddings unit length.
        weight_norm: weight normalisation of the region layer (SCAN's option).
        region_encoder: the block beside or after the linear region layer, see `region_blocks`.
        mask_regions: exclude dropped regions from the block, as keys of its attention and from its
            batch statistics (CHAN's code does not). A dataset whose images have different
            numbers of regions needs it, and `prepare.build` sets it.
        positions: PFAN's position features: ``none``, ``paper`` or ``released``.
        text_encoder: ``gru``, or ``bert``.
        bert: ``minilm``, or the folder of a BERT model, see `data.word_pieces`.
        word_init: initialisation of the word vectors: ``uniform`` in +-0.1, or ``xavier`` (CHAN).
        word_vectors: ``glove``, or a file of word vectors, for the words that it has; see
            `data.word_vectors`. They are trained like all others.
        word_dropout: of the word vectors that enter the GRU, in training.
        image_pooling, text_pooling: the pooled vector of an image or a caption, see `pooling`.
    """

    part: ClassVar[str] = "encoder"
    embedding: Width = 1024
    word_width: Width = 300
    gru_layers: Depth = 1
    bidirectional: bool = True
    normalise_regions: bool = True
    normalise_words: bool = True
    weight_norm: bool = False
    region_encoder: Annotated[str, name_in(REGION_BLOCKS)] = "linear"
    mask_regions: bool = False
    positions: Annotated[str, name_in(("none", *POSITION_RULES))] = "none"
    text_encoder: Annotated[str, name_in(lambda: WORD_ENCODERS)] = "gru"
    bert: str | None = None
    word_init: Annotated[str, name_in(WORD_INITS)] = "uniform"
    word_vectors: str | None = None
    word_dropout: Fraction = 0.0
    image_pooling: Annotated[str, name_in(POOLINGS)] = "none"
    text_pooling: Annotated[str, name_in(POOLINGS)] = "none"

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.word_vectors and self.text_encoder == "bert":
            raise InputError(
                "encoder.text_encoder=bert has vectors of its own",
                found=f"encoder.word_vectors={self.word_vectors}",
                remedy="leave encoder.word_vectors out, or set encoder.text_encoder=gru",
            )
        if self.region_encoder in ATTENDING_BLOCKS and self.embedding % HEADS:
            raise InputError(
                f"encoder.region_encoder={self.region_encoder} has {HEADS} attention heads",
                found=f"encoder.embedding={self.embedding}",
                expected=f"a multiple of {HEADS}",
            )
        return self


class RegionEncoder(nn.Module):
    """A linear layer on each region, optionally a block, then unit length.

    SCAN section 3.3.

    >>> import torch
    >>> RegionEncoder(2048, EncoderSettings(embedding=8))(torch.randn(2, 36, 2048)).vectors.shape
    torch.Size([2, 36, 8])
    """

    def __init__(
        self, feature_width: int, settings: EncoderSettings, region_count: int = 36
    ) -> None:
        super().__init__()
        width = settings.embedding
        self.positions = None
        if settings.positions != "none":  # the last columns of the features are the positions
            self.positions = BlockPositions(feature_width - POSITION_WIDTH, settings.positions)
            feature_width = self.positions.joined_width
        self.fc = linear(feature_width, width)
        if settings.weight_norm:  # one norm for the whole matrix, as in the release
            self.fc = weight_norm(self.fc, dim=None)  # type: ignore[arg-type]
        self.block = make_block(settings.region_encoder, feature_width, width)
        self.pooling = make_pooling(settings.image_pooling, width, region_count)
        self.masked = settings.mask_regions
        self.normalised = settings.normalise_regions

    def forward(
        self, features: Tensor, lens: Tensor | None = None, *, masked: bool = False
    ) -> Fragments:
        """Return regions ``[I, R, D]`` of features ``[I, R, F]``, in the weights' precision.

        ``lens [I]`` are the numbers of regions where they vary. ``masked`` excludes the padding
        from the block too, whatever the settings say.
        """
        features = features.to(next(self.parameters()).dtype)
        if self.positions is not None:
            features = self.positions(features)
        vectors = self.fc(features)
        if self.block is not None:
            masked = lens is not None and (masked or self.masked)
            mask = Fragments.of(vectors, lens).mask if masked else None
            vectors = self.block(vectors, features, mask)
        if lens is not None:  # padding must be zero, or it would act as query and key
            vectors = vectors * Fragments.of(vectors, lens).mask[..., None]
        return to_fragments(vectors, lens, self.normalised, self.pooling)


class WordEncoder(nn.Module):
    """A GRU over word vectors, its two directions averaged, then unit length (SCAN 3.4)."""

    def __init__(self, vocabulary_size: int, settings: EncoderSettings) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, settings.word_width)
        registered("encoder.word_init", settings.word_init, WORD_INITS)(self.embed.weight)
        self.dropout = nn.Dropout(settings.word_dropout)
        self.rnn = nn.GRU(
            settings.word_width,
            settings.embedding,
            settings.gru_layers,
            batch_first=True,
            bidirectional=settings.bidirectional,
        )
        self.pooling = make_pooling(settings.text_pooling, settings.embedding)
        self.normalised = settings.normalise_words

    def forward(self, tokens: Tensor, lens: Tensor) -> Fragments:
        """Return words ``[C, L, D]`` of token ids ``[C, L]``; zero beyond each length."""
        vectors = hidden_states(self.rnn, self.dropout(self.embed(tokens)), lens).mean(0)
        return to_fragments(vectors, lens, self.normalised, self.pooling)


def _bert(vocabulary_size: int, settings: EncoderSettings) -> nn.Module:
    from itm_core.encoders.bert import BertWordEncoder  # transformers is optional

    return BertWordEncoder(settings)


WORD_ENCODERS: dict[str, Callable[[int, EncoderSettings], nn.Module]] = {
    "gru": WordEncoder,
    "bert": _bert,
}


def make_word_encoder(vocabulary_size: int, settings: EncoderSettings) -> nn.Module:
    """Return the word encoder of the settings."""
    make = registered("encoder.text_encoder", settings.text_encoder, WORD_ENCODERS)
    return make(vocabulary_size, settings)
