"""The methods that are timed, at their published sizes, each with its naive reference.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from itm_book import reference as naive
from itm_book.checkpoints.authors_names import their_name
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.evaluation.scoring import chunked, score_fragments
from itm_core.models import Attending, AttendingSettings, Matcher
from itm_core.regulators import RegulatorSettings, regulator_factory

REGIONS, SHORTEST, LONGEST = 36, 8, 20
PLAIN, UNREGULATED = EncoderSettings(word_width=1), RegulatorSettings()
POOLED = PLAIN.replace(image_pooling="self_attention", text_pooling="self_attention")
Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Method:
    """Settings of one method, and its naive reference implementation.

    Attributes:
        reference: returns scores ``[I, C]`` from regions, words, lengths and weights, in a loop
            over captions.
        family: the release that names the reference's weights, see `authors_names`.
        repeats: default number of timings; fewer for slow methods.
    """

    settings: AttendingSettings
    reference: Callable[[Tensor, Tensor, list[int], Weights], Tensor]
    encoder: EncoderSettings = PLAIN
    regulator: RegulatorSettings = UNREGULATED
    family: str = ""
    repeats: int = 7


@dataclass(frozen=True)
class Embeddings:
    """Embedded regions ``[I, R, D]`` and words ``[C, L, D]``; ``packed`` has no padding."""

    regions: Tensor
    words: Tensor
    lens: Tensor
    packed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        unpadded = [w[:n] for w, n in zip(self.words, self.lens.tolist(), strict=True)]
        object.__setattr__(self, "packed", torch.cat(unpadded))

    def first(self, captions: int) -> Embeddings:
        """Return the same images with the first ``captions`` captions."""
        return Embeddings(self.regions, self.words[:captions], self.lens[:captions])


METHODS = {
    "SCAN t2i": Method(
        settings=AttendingSettings(),
        reference=lambda V, W, n, _: naive.scan_scores(V, W, n, direction="t2i"),
    ),
    "SCAN i2t": Method(
        settings=AttendingSettings(direction="i2t", attention_temperature=4.0),
        reference=lambda V, W, n, _: naive.scan_scores(
            V, W, n, direction="i2t", attention_temperature=4.0
        ),
    ),
    "BFAN": Method(
        settings=AttendingSettings(direction="both", attention_temperature=20.0, gate="equal"),
        reference=lambda V, W, n, _: naive.bfan_scores(V, W, n, gate="equal"),
    ),
    "CHAN": Method(
        settings=AttendingSettings(
            attention="hard", aggregation="LSE", lse_temperature=10.0, lse_scaled=False
        ),
        reference=lambda V, W, n, _: naive.chan_scores(
            V, [V.shape[1]] * len(V), W, n, coding="hard_word", pooling="LSE"
        ),
    ),
    "SAF": Method(
        settings=AttendingSettings(aggregation="SAF"),
        reference=naive.saf_scores,
        encoder=POOLED,
        family="sgraf",
        repeats=3,
    ),
    "SGR": Method(
        settings=AttendingSettings(aggregation="SGR"),
        reference=naive.sgr_scores,
        encoder=POOLED,
        family="sgraf",
        repeats=3,
    ),
    "RCAR-2 t2i": Method(
        settings=AttendingSettings(attention_temperature=10.0),
        reference=lambda V, W, n, w: naive.rcar_scores(
            V, W, n, w, mode="coop_rcar", steps=2, direction="t2i", attention_temperature=10.0
        ),
        regulator=RegulatorSettings(kind="rcar", steps=2),
        family="rcar",
        repeats=3,
    ),
}


def random_embeddings(
    images: int, captions: int, width: int, device: torch.device | str = "cpu"
) -> Embeddings:
    """Return random fragments with a common component, as those of a trained model have.

    36 regions per image, 8 to 20 words per caption; vectors of ``width`` numbers, unit norm.
    """
    shared = 0.5 * torch.randn(width)
    regions = l2norm(torch.randn(images, REGIONS, width) + shared)
    lens = torch.randint(SHORTEST, LONGEST + 1, (captions,))
    mask = (torch.arange(LONGEST) < lens[:, None])[..., None]
    words = l2norm(torch.randn(captions, LONGEST, width) + shared) * mask
    return Embeddings(regions.to(device), words.to(device), lens)


def build(method: Method, width: int, similarity: int) -> Attending:
    """Return our matcher, with random biases in place of zeros."""
    matcher = Attending(
        1,
        1,
        method.encoder.replace(embedding=width),
        method.settings.replace(width=similarity),
        regulator_factory(method.regulator.replace(width=similarity)),
        REGIONS,
    )
    for name, parameter in matcher.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.1, 0.1)
    return matcher.eval()


def reference_weights(matcher: Attending, method: Method) -> Weights:
    """Return our weights under the names that the reference implementation reads."""
    if not method.family:
        return {}
    return {their_name(n, method.family): value for n, value in matcher.state_dict().items()}


def score(matcher: Matcher, inputs: Embeddings) -> Tensor:
    """Return our scores ``[I, C]``; pooled vectors are computed here, as in the references."""
    regions, words = Fragments.of(inputs.regions), Fragments.of(inputs.words, inputs.lens)
    if matcher.regions.pooling is not None:
        regions = replace(regions, pooled=matcher.regions.pooling(regions))
        words = replace(words, pooled=matcher.words.get_submodule("pooling")(words))
    return score_fragments(matcher, chunked(regions), words)
