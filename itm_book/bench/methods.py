"""What is timed: the methods at their published sizes, each with the plain twin that it races.

Page: "What it costs".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from itm_book import reference
from itm_book.parity.names import their_name
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.evaluation.scoring import chunked, score_fragments
from itm_core.models import Attending, AttendingSettings, Matcher
from itm_core.regulators import RegulatorSettings, regulator_factory

REGIONS, SHORTEST, LONGEST = 36, 8, 20
PLAIN, UNREGULATED = EncoderSettings(word_width=1), RegulatorSettings()
WHOLES = PLAIN.replace(image_pooling="self_attention", text_pooling="self_attention")
Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method: our settings, and its twin.

    Attributes:
        twin: scores ``[I, C]`` of regions, words, lengths and weights, caption by caption.
        family: whose names the twin's weights have, see `parity.names`.
        repeats: how often it is timed unless the caller says; the slow ones less often.
    """

    settings: AttendingSettings
    twin: Callable[[Tensor, Tensor, list[int], Weights], Tensor]
    encoder: EncoderSettings = PLAIN
    regulator: RegulatorSettings = UNREGULATED
    family: str = ""
    repeats: int = 7


@dataclass(frozen=True)
class Given:
    """Embedded regions ``[I, R, D]`` and words ``[C, L, D]``, and the words without padding."""

    regions: Tensor
    words: Tensor
    lens: Tensor
    packed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        real = [w[:n] for w, n in zip(self.words, self.lens.tolist(), strict=True)]
        object.__setattr__(self, "packed", torch.cat(real))

    def first(self, captions: int) -> Given:
        """Return the same images with the first captions alone."""
        return Given(self.regions, self.words[:captions], self.lens[:captions])


METHODS = {
    "SCAN t2i": Method(
        settings=AttendingSettings(),
        twin=lambda V, W, n, _: reference.scan_scores(V, W, n, direction="t2i"),
    ),
    "SCAN i2t": Method(
        settings=AttendingSettings(direction="i2t", attention_temperature=4.0),
        twin=lambda V, W, n, _: reference.scan_scores(
            V, W, n, direction="i2t", attention_temperature=4.0
        ),
    ),
    "BFAN": Method(
        settings=AttendingSettings(direction="both", attention_temperature=20.0, gate="equal"),
        twin=lambda V, W, n, _: reference.bfan_scores(V, W, n, gate="equal"),
    ),
    "CHAN": Method(
        settings=AttendingSettings(
            attention="hard", aggregation="LSE", lse_temperature=10.0, lse_scaled=False
        ),
        twin=lambda V, W, n, _: reference.chan_scores(
            V, [V.shape[1]] * len(V), W, n, coding="hard_word", pooling="LSE"
        ),
    ),
    "SAF": Method(
        settings=AttendingSettings(aggregation="SAF"),
        twin=reference.saf_scores,
        encoder=WHOLES,
        family="sgraf",
        repeats=3,
    ),
    "SGR": Method(
        settings=AttendingSettings(aggregation="SGR"),
        twin=reference.sgr_scores,
        encoder=WHOLES,
        family="sgraf",
        repeats=3,
    ),
    "RCAR-2 t2i": Method(
        settings=AttendingSettings(attention_temperature=10.0),
        twin=lambda V, W, n, w: reference.rcar_scores(
            V, W, n, w, mode="coop_rcar", steps=2, direction="t2i", attention_temperature=10.0
        ),
        regulator=RegulatorSettings(kind="rcar", steps=2),
        family="rcar",
        repeats=3,
    ),
}


def draw(images: int, captions: int, width: int, device: torch.device | str = "cpu") -> Given:
    """Return random fragments that share a direction, as those of a trained model do.

    36 regions for an image, 8 to 20 words for a caption, all of unit length ``width``.
    """
    shared = 0.5 * torch.randn(width)
    regions = l2norm(torch.randn(images, REGIONS, width) + shared)
    lens = torch.randint(SHORTEST, LONGEST + 1, (captions,))
    real = (torch.arange(LONGEST) < lens[:, None])[..., None]
    words = l2norm(torch.randn(captions, LONGEST, width) + shared) * real
    return Given(regions.to(device), words.to(device), lens)


def build(method: Method, width: int, similarity: int) -> Attending:
    """Return our matcher, with biases that are not zero."""
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


def weights_of_twin(matcher: Attending, method: Method) -> Weights:
    """Return our weights under the names that the twin knows."""
    if not method.family:
        return {}
    return {their_name(n, method.family): value for n, value in matcher.state_dict().items()}


def score(matcher: Matcher, given: Given) -> Tensor:
    """Return our scores ``[I, C]``; whole vectors are made on the way, as the twins do."""
    regions, words = Fragments.of(given.regions), Fragments.of(given.words, given.lens)
    if matcher.regions.pooling is not None:
        regions = replace(regions, pooled=matcher.regions.pooling(regions))
        words = replace(words, pooled=matcher.words.get_submodule("pooling")(words))
    return score_fragments(matcher, chunked(regions), words)
