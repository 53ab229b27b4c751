"""Settings from the options of the authors' releases: one reader for each family of methods.

Options are those of a checkpoint (``opt``) or of a reference file (``config``).

Page: "Use the authors' checkpoints".
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from itm_core.encoders.encoder import EncoderSettings
from itm_core.errors import InputError
from itm_core.models import AttendingSettings, PooledSettings
from itm_core.regulators import RegulatorSettings

AGGREGATIONS = {"LogSumExp": "LSE", "Mean": "mean", "Max": "max", "Sum": "sum"}
Options = Mapping[str, Any]
ModelSettings = tuple[EncoderSettings, AttendingSettings, RegulatorSettings]


def encoder_of(options: Options, **more: Any) -> EncoderSettings:
    """Return the encoder settings whose options have the same names in all releases."""
    return EncoderSettings(
        embedding=options["embed_size"],
        word_width=options["word_dim"],
        gru_layers=options["num_layers"],
        bidirectional=options["use_bi_gru"] if "use_bi_gru" in options else options["bi_gru"],
        normalise_regions=not options["no_imgnorm"],
        normalise_words=not options["no_txtnorm"],
        **more,
    )


def _scan_encoder(options: Options) -> EncoderSettings:
    """Return the encoder settings of SCAN and of releases with the same encoders."""
    weight_norm = {"basic": False, "weight_norm": True}[options["precomp_enc_type"]]
    return encoder_of(options, weight_norm=weight_norm)


def scan_settings(options: Options) -> ModelSettings:
    """Return SCAN's settings from its options; PFAN has the same options."""
    matcher = AttendingSettings(
        direction=options["cross_attn"],
        normalisation=options["raw_feature_norm"],
        attention_temperature=options["lambda_softmax"],
        aggregation=AGGREGATIONS[options["agg_func"]],
        lse_temperature=options["lambda_lse"],
    )
    return _scan_encoder(options), matcher, RegulatorSettings()


def bfan_settings(options: Options) -> ModelSettings:
    """Return BFAN's settings from its options; its GRU is always bidirectional."""
    matcher = AttendingSettings(
        direction="both",
        attention_temperature=options["lambda_softmax"],
        gate=options["focal_type"],
    )
    return _scan_encoder({"bi_gru": True, **options}), matcher, RegulatorSettings()


def sgraf_settings(options: Options) -> ModelSettings:
    """Return SAF's or SGR's settings from its options; the temperature is a constant."""
    encoder = encoder_of(options, image_pooling="self_attention", text_pooling="self_attention")
    matcher = AttendingSettings(
        attention_temperature=9.0,
        aggregation=options["module_name"],
        width=options["sim_dim"],
        node_steps=options["sgr_step"],
    )
    return encoder, matcher, RegulatorSettings()


def imram_settings(options: Options) -> ModelSettings:
    """Return IMRAM's settings from its options."""
    direction = {"text_IMRAM": "t2i", "image_IMRAM": "i2t", "full_IMRAM": "both"}
    matcher = AttendingSettings(
        direction=direction[options["model_mode"]],
        normalisation=options["raw_feature_norm"],
        attention_temperature=options["lambda_softmax"],
    )
    regulator = RegulatorSettings(
        kind="memory",
        steps=options["iteration_step"],
        normalise_memory=not options["no_IMRAM_norm"],
    )
    return _scan_encoder(options), matcher, regulator


def rcar_settings(options: Options) -> ModelSettings:
    """Return the settings of RCAR, RCR or RAR from the options."""
    kind = {"only_rcr": "rcr", "only_rar": "rar", "coop_rcar": "rcar"}[options["self_regulator"]]
    matcher = AttendingSettings(
        direction=options["attn_type"],
        attention_temperature=options[f"{options['attn_type']}_smooth"],
    )
    regulator = RegulatorSettings(
        kind=kind, steps=options[f"{kind}_step"], width=options["sim_dim"]
    )
    return encoder_of(options, region_encoder="mlp"), matcher, regulator


BLOCKS = {
    "basic": "linear",
    "selfattention": "self_attention",
    "transformer": "transformer_over_images",
}
POOLINGS = {
    "LSEPooling": "LSE",
    "MeanPooling": "mean",
    "SumPooling": "sum",
    "MaxPooling": "max",
    "SoftmaxPooling": "softmax",
}


def coding_settings(options: Options) -> AttendingSettings:
    """Return the matcher settings of CHAN's coding and pooling."""
    if options["coding_type"] == "T2ICrossAttentionPool":
        return AttendingSettings(attention_temperature=9.0)
    hard: dict[str, Any] = {"attention": "hard"}
    soft = {
        "normalisation": "no_norm",
        "attention_temperature": 1 / options["alpha"],
        "alignment": "dot",
    }
    kinds = {
        "VHACoding": {"direction": "t2i", **hard},
        "THACoding": {"direction": "i2t", **hard},
        "VSACoding": {"direction": "i2t", **soft},
    }
    return AttendingSettings(
        aggregation=POOLINGS[options["pooling_type"]],
        lse_temperature=1 / options["belta"],
        lse_scaled=False,
        **kinds[options["coding_type"]],
    )


def chan_settings(options: Options) -> ModelSettings:
    """Return CHAN's settings from its options."""
    bert = options["text_enc_type"] == "bert"
    encoder = encoder_of(
        {"bi_gru": True, **options},
        region_encoder=BLOCKS[options["precomp_enc_type"]],
        text_encoder="bert" if bert else "gru",
        word_init="xavier",
    )
    return encoder, coding_settings(options), RegulatorSettings()


def pfan_settings(options: Options) -> ModelSettings:
    """Return PFAN's settings from its options: SCAN's, positions, and the bonus for words."""
    encoder, matcher, regulator = scan_settings(options)
    return (
        encoder.replace(positions="released"),
        matcher.replace(max_attention_bonus=matcher.direction == "t2i"),
        regulator,
    )


# pooled vectors get unit norm, regions and words do not
RAW = {"normalise_regions": False, "normalise_words": False}


def _sizes(options: Options) -> dict[str, Any]:
    return {
        "embedding": options["embed_size"],
        "word_width": options["word_dim"],
        "gru_layers": options["num_layers"],
        **RAW,
    }


POOLED_ENCODERS: dict[str, dict[str, Any]] = {
    "vsepp": {"bidirectional": False, "image_pooling": "mean", "text_pooling": "last"},
    "vsrn": {
        "bidirectional": False,
        "region_encoder": "graph",
        "image_pooling": "gru_norm",
        "text_pooling": "last",
    },
    "vseinf": {"region_encoder": "mlp", "image_pooling": "gpo", "text_pooling": "gpo"},
}


def pooled_settings(
    family: str, options: Options
) -> tuple[EncoderSettings, PooledSettings, RegulatorSettings]:
    """Return the settings of a pooled family (`POOLED_ENCODERS`) from its options.

    Raises `InputError` for models without normalisation, which `pooling` does not support.
    """
    raw = [name for name in ("no_imgnorm", "no_txtnorm") if options.get(name)]
    if raw:
        raise InputError(
            "models without normalised vectors are not supported",
            found=f"option {raw[0]}",
            expected="pooled vectors of unit norm",
        )
    encoder = EncoderSettings(**_sizes(options), **POOLED_ENCODERS[family])
    if family == "vsrn" and options["data_name"] != "f30k_precomp":
        encoder = encoder.replace(region_encoder="graph_coco", image_pooling="gru")
    settings = PooledSettings(
        measure=options.get("measure", "cosine"), absolute=options.get("use_abs", False)
    )
    return encoder, settings, RegulatorSettings()


ATTENDING: dict[str, Callable[[Options], ModelSettings]] = {
    "scan": scan_settings,
    "bfan": bfan_settings,
    "sgraf": sgraf_settings,
    "imram": imram_settings,
    "rcar": rcar_settings,
    "pfan": pfan_settings,
    "chan": chan_settings,
}
SETTINGS: dict[str, Callable[[Options], Any]] = {
    **ATTENDING,
    **{family: functools.partial(pooled_settings, family) for family in POOLED_ENCODERS},
}

# an option, or a prefix of the name of a weight, that identifies the family
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
    """Return the family with options or weights of these names; None for an unknown one.

    Names that are not text, which pickled options may have, are ignored.
    """
    texts = [name for name in names if isinstance(name, str)]
    families = (family for mark, family in MARKS if any(name.startswith(mark) for name in texts))
    return next(families, None)
