"""Whole models: what a file's ``config`` describes, rebuilt, loaded and compared.

`compare_model` is what all hosts share: embeddings, scores, losses, gradients. Each family adds
how its options are called (here) and how its weights are (`names`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from itm_book.parity.format import Difference, Stored, gradient_differences, value_difference
from itm_book.parity.names import UNUSED, our_name
from itm_book.parity.traces import trace_differences
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.errors import InputError
from itm_core.evaluation.scoring import score_fragments
from itm_core.models import Attending, AttendingSettings, Matcher
from itm_core.models.pairing import AllPairs
from itm_core.regulators import RegulatorSettings, regulator_factory
from itm_core.training.losses import hinge

AGGREGATION_NAMES = {"LogSumExp": "LSE", "Mean": "mean", "Max": "max", "Sum": "sum"}
Settings = tuple[EncoderSettings, AttendingSettings, RegulatorSettings]


def encoder_of(c: Mapping[str, Any], **more: Any) -> EncoderSettings:
    """Return the encoder settings that all releases call by the same names."""
    return EncoderSettings(
        embedding=c["embed_size"],
        word_width=c["word_dim"],
        gru_layers=c["num_layers"],
        bidirectional=c["use_bi_gru"] if "use_bi_gru" in c else c["bi_gru"],
        normalise_regions=not c["no_imgnorm"],
        normalise_words=not c["no_txtnorm"],
        **more,
    )


def _scan_encoder(c: Mapping[str, Any]) -> EncoderSettings:
    """Return the encoder settings of SCAN and of the releases that start from its encoders."""
    weight_norm = {"basic": False, "weight_norm": True}[c["precomp_enc_type"]]
    return encoder_of(c, weight_norm=weight_norm)


def scan_settings(c: Mapping[str, Any]) -> Settings:
    """Return SCAN's settings from its options; PFAN has the same ones."""
    matcher = AttendingSettings(
        direction=c["cross_attn"],
        normalisation=c["raw_feature_norm"],
        attention_temperature=c["lambda_softmax"],
        aggregation=AGGREGATION_NAMES[c["agg_func"]],
        lse_temperature=c["lambda_lse"],
    )
    return _scan_encoder(c), matcher, RegulatorSettings()


def bfan_settings(c: Mapping[str, Any]) -> Settings:
    """Return BFAN's settings from its options; its GRU has two directions, without an option."""
    matcher = AttendingSettings(
        direction="both", attention_temperature=c["lambda_softmax"], gate=c["focal_type"]
    )
    return _scan_encoder({"bi_gru": True, **c}), matcher, RegulatorSettings()


def sgraf_settings(c: Mapping[str, Any]) -> Settings:
    """Return SAF's or SGR's settings from their options; no option names the temperature."""
    encoder = encoder_of(c, image_pooling="self_attention", text_pooling="self_attention")
    matcher = AttendingSettings(
        attention_temperature=9.0,
        aggregation=c["module_name"],
        width=c["sim_dim"],
        node_steps=c["sgr_step"],
    )
    return encoder, matcher, RegulatorSettings()


def imram_settings(c: Mapping[str, Any]) -> Settings:
    """Return IMRAM's settings from its options."""
    direction = {"text_IMRAM": "t2i", "image_IMRAM": "i2t", "full_IMRAM": "both"}
    matcher = AttendingSettings(
        direction=direction[c["model_mode"]],
        normalisation=c["raw_feature_norm"],
        attention_temperature=c["lambda_softmax"],
    )
    regulator = RegulatorSettings(
        kind="memory", steps=c["iteration_step"], normalise_memory=not c["no_IMRAM_norm"]
    )
    return _scan_encoder(c), matcher, regulator


def rcar_settings(c: Mapping[str, Any]) -> Settings:
    """Return the settings of RCAR and its parts from their options."""
    kind = {"only_rcr": "rcr", "only_rar": "rar", "coop_rcar": "rcar"}[c["self_regulator"]]
    matcher = AttendingSettings(
        direction=c["attn_type"], attention_temperature=c[f"{c['attn_type']}_smooth"]
    )
    regulator = RegulatorSettings(kind=kind, steps=c[f"{kind}_step"], width=c["sim_dim"])
    return encoder_of(c, region_encoder="mlp"), matcher, regulator


FAMILIES: dict[str, Callable[[Mapping[str, Any]], Settings]] = {
    "scan": scan_settings,
    "bfan": bfan_settings,
    "sgraf": sgraf_settings,
    "imram": imram_settings,
    "rcar": rcar_settings,
}

# an option, or how the name of a weight begins, that only this family has
MARKS = (
    ("self_regulator", "rcar"),
    ("module_name", "sgraf"),
    ("focal_type", "bfan"),
    ("model_mode", "imram"),
    ("coding_type", "chan"),
    ("img_enc.position_embedding.", "pfan"),
    ("cross_attn", "scan"),
    ("img_enc.Rs_GCN_1.", "vsrn"),
    ("img_enc.gpool.", "vseinf"),
    ("use_abs", "vsepp"),
    ("measure", "vsepp"),
)


def family_named(names: Iterable[object]) -> str | None:
    """Return the family that has options and weights of these names; None for any other.

    Pickled options may have names that are no text; these are left out.
    """
    known = [name for name in names if isinstance(name, str)]
    found = (family for mark, family in MARKS if any(name.startswith(mark) for name in known))
    return next(found, None)


def family_of(stored: Stored) -> str | None:
    """Return the family of the model in a file by its options and weights; None for any other."""
    return family_named([*stored.config, *stored.folder("weights")])


def build(stored: Stored, family: str) -> Attending:
    """Return the matcher that a file's ``config`` describes, with the file's weights.

    Raises `InputError` for an option or a weight that ours does not have.
    """
    c = stored.config
    try:
        encoder, settings, regulator = FAMILIES[family](c)
        first = "inputs/step0/images"  # of training steps on a batch each
        images = stored.tensor(first if first in stored.arrays else "inputs/images")
        matcher = Attending(
            images.shape[2],
            c["vocab_size"],
            encoder,
            settings,
            regulator_factory(regulator),
            images.shape[1],
        )
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    load(matcher, stored, family)
    return matcher.eval()


def load(matcher: Matcher, stored: Stored, family: str, folder: str = "weights") -> None:
    """Load the file's weights; those that take no part in this mode are left out.

    The matcher takes over their precision. Raises `InputError` when a weight is missing, or has
    no place.
    """
    arrays = stored.folder(folder)
    if any(array.dtype == np.float64 for array in arrays.values()):
        matcher.double()
    wanted = matcher.state_dict()
    state = {  # convolutions of width one are linear maps
        k: v.view(wanted[k].shape) if k in wanted and v.numel() == wanted[k].numel() else v
        for k, v in renamed(arrays, matcher, family).items()
    }
    try:
        matcher.load_state_dict(state)
    except RuntimeError as error:
        raise InputError("weights do not fit", file=stored.path, found=error) from None


def renamed(arrays: Mapping[str, np.ndarray], matcher: Matcher, family: str) -> dict[str, Tensor]:
    """Return the arrays under our names, without those that take no part."""
    found = {name_in(matcher, k, family): torch.from_numpy(v) for k, v in arrays.items()}
    return {k: v for k, v in found.items() if k != UNUSED}


def name_in(matcher: Matcher, theirs: str, family: str) -> str:
    """Return the name that a parameter has in this matcher; `UNUSED` when it takes no part."""
    if not isinstance(matcher, Attending):
        return our_name(theirs, family)
    name = our_name(theirs, family, matcher.settings.direction)
    scored = name.endswith(("regulator.output.weight", "regulator.output.bias"))
    direction = name.split(".")[1] if name.startswith("directions.") else matcher.settings.direction
    if (scored and name not in matcher.state_dict()) or direction not in (
        *matcher.directions,
        "both",
    ):
        return UNUSED  # RCAR's final map under a mean of cosines; IMRAM's other direction
    return name


def check_model(family: str) -> Callable[[Stored], Iterator[Difference]]:
    """Return the checker of the models of a family."""

    def check(stored: Stored) -> Iterator[Difference]:
        matcher = build(stored, family)
        features = stored.tensor("inputs/images")
        features.requires_grad_("outputs/grad_images" in stored.arrays)
        ids, lens = stored.tensor("inputs/captions"), stored.tensor("inputs/lengths")
        regions, words = matcher.regions(features), matcher.words(ids, lens)
        yield from compare_model(stored, matcher, regions, words, family)
        if features.grad is not None:
            theirs = {"images": stored.tensor("outputs/grad_images")}
            for found in gradient_differences({"images": features.grad}, theirs):
                yield Difference("grad_images", found.error, found.limit)
        if "outputs/cap_ht" in stored.arrays:
            last = last_states(matcher.words, ids, lens)
            yield value_difference("cap_ht", last, stored.tensor("outputs/cap_ht"))
        yield from trace_differences(stored, matcher, regions, words)

    return check


def compare_model(
    stored: Stored, matcher: Matcher, regions: Fragments, words: Fragments, family: str
) -> Iterator[Difference]:
    """Yield the differences of a model: embeddings, scores, losses, gradients.

    Leaves the gradients of the hardest-negative loss in the parameters.
    """
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    image, caption = square_of(stored)
    square = matcher(AllPairs(regions.take(image), words.take(caption))).T
    margin = stored.config["margin"]
    hard = hinge(square, margin, hardest=True)
    ours: dict[str, Tensor] = {
        "img_emb": regions.vectors,
        "cap_emb": words.vectors,
        "cap_len": words.lens,
        "img_fc": regions.vectors.mean(1),
        "square_sims": square,
        "loss_sum": hinge(square, margin, hardest=False),
        "loss_max": hard,
        "loss_hard": hard,
    }
    for name in ours.keys() & theirs.keys():
        yield value_difference(name, ours[name].detach(), theirs[name])
    yield scores_difference(matcher, regions, words, theirs["sims"])
    hard.backward()
    gradients = {n[5:]: v for n, v in theirs.items() if n.startswith("grad/")}
    yield from gradient_differences(slopes(matcher, gradients, family), gradients)


def scores_difference(
    matcher: Matcher, regions: Fragments, words: Fragments, theirs: Tensor
) -> Difference:
    """Return the difference of the scores, made as in training and in tiles; the worse counts."""
    with torch.no_grad():
        tiled = score_fragments(matcher, [regions.detach()], words.detach())
        met = matcher(AllPairs(regions, words)).T
    found = [value_difference("sims", scores, theirs) for scores in (tiled, met)]
    return max(found, key=lambda d: (d.error != d.error, d.error))


def slopes(
    matcher: Matcher, theirs: Mapping[str, Tensor], family: str, *, keep_shape: bool = False
) -> dict[str, Tensor | None]:
    """Return our gradients under the release's names; None where we have no such parameter.

    A parameter that takes no part has no gradient here, and zeros in the file.
    """
    parameters = dict(matcher.named_parameters())
    found: dict[str, Tensor | None] = {}
    for name, stored in theirs.items():
        ours = name_in(matcher, name, family)
        slope = parameters[ours].grad if ours in parameters else None
        idle = ours == UNUSED or (ours in parameters and slope is None)
        found[name] = torch.zeros_like(stored) if idle else slope
        if slope is not None and slope.shape != stored.shape and not keep_shape:
            found[name] = slope.view(stored.shape)  # convolutions of width one are linear maps
    return found


def last_states(words: Any, ids: Tensor, lens: Tensor) -> Tensor:
    """Return the mean of the last states of both GRU directions at unit length, ``[C, D]``."""
    packed = pack_padded_sequence(words.embed(ids), lens, batch_first=True, enforce_sorted=False)
    return l2norm(words.rnn(packed)[1][-2:].mean(0)).detach()


def square_of(stored: Stored) -> tuple[Tensor, Tensor]:
    """Return the images and captions of the square batch that the losses are taken of."""
    if "inputs/sub_image_index" in stored.arrays:
        return stored.tensor("inputs/sub_image_index"), stored.tensor("inputs/sub_caption_index")
    captions = stored.tensor("inputs/square_captions")
    return torch.arange(len(captions)), captions
