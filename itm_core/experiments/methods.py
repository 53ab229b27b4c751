"""The settings of every method of the three papers and of their hosts.

A method has the settings that its paper introduces. Settings that depend on the data (epochs,
rates, widths) are in a profile (`PROFILES`) or, if a paper states its own, in the method's
``published`` row.

Sources: the papers and the READMEs of their releases. Where they differ the README is followed,
which the page on quirks says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from itm_core.models import AttendingSettings, PooledSettings
from itm_core.regulators import RegulatorSettings

Changes = Mapping[str, Any]

SCAN = "Lee et al., Stacked Cross Attention for Image-Text Matching, ECCV 2018"
BFAN = "Liu et al., Focus Your Attention: A Bidirectional Focal Attention Network, ACM MM 2019"
PFAN = "Wang et al., Position Focused Attention Network for Image-Text Matching, IJCAI 2019"
SGRAF = "Diao et al., Similarity Reasoning and Filtration for Image-Text Matching, AAAI 2021"
IMRAM = "Chen et al., IMRAM: Iterative Matching with Recurrent Attention Memory, CVPR 2020"
CHAN = "Pan et al., Fine-Grained Image-Text Matching by Cross-Modal Hard Aligning, CVPR 2023"
RCAR = "Diao et al., Plug-and-Play Regulators for Image-Text Matching, TIP 2023"
VSEPP = "Faghri et al., VSE++: Improving Visual-Semantic Embeddings, BMVC 2018"
GPO = "Chen et al., Learning the Best Pooling Strategy for Visual Semantic Embedding, CVPR 2021"
VSRN = "Li et al., Visual Semantic Reasoning for Image-Text Matching, ICCV 2019"

# of VSE-infinity; CHAN follows it, and RCAR the schedule
SCHEDULE: Changes = {"epochs": 25, "lr_decay_epochs": 15, "learning_rate": 5e-4}
AUGMENTED: Changes = {
    "loss.warmup_epochs": 1,
    "training.optimiser": "adamw",
    "training.region_dropout": 0.2,
    "training.token_dropout": 0.2,
    "training.drop_last": True,
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """The settings that a paper introduces.

    Attributes:
        paper: its reference.
        matcher, regulator: settings of these parts.
        encoder, loss: settings of the method on every dataset.
        on_real_images: settings of ``encoder.`` and ``training.`` that the paper uses on
            photographs (dropout, augmentation, weight decay). Not used on Scenes, where all
            methods are trained with the same settings.
        published: the training settings of the paper, by dataset.
    """

    paper: str
    matcher: AttendingSettings | PooledSettings
    regulator: RegulatorSettings = field(default_factory=RegulatorSettings)
    encoder: Changes = field(default_factory=dict)
    loss: Changes = field(default_factory=dict)
    on_real_images: Changes = field(default_factory=dict)
    published: Mapping[str, Changes] = field(default_factory=dict)


def _scan() -> dict[str, Method]:
    """SCAN: every direction with every aggregation (section 3)."""
    return {
        f"scan-{direction}-{aggregation}": Method(
            paper=SCAN,
            matcher=AttendingSettings(
                direction=direction,
                attention_temperature=attention,
                aggregation=aggregation,
                lse_temperature=lse,
            ),
        )
        for direction, attention, lse in (("t2i", 9.0, 6.0), ("i2t", 4.0, 5.0))
        for aggregation in ("mean", "LSE", "max", "sum")
    }


def _bfan() -> dict[str, Method]:
    """BFAN: both directions in one model, the irrelevant fragments removed (section 4)."""
    published = {  # the README; the paper says batch 32 and a drop every ten epochs
        "f30k": {"epochs": 15, "lr_decay_epochs": 15},
        "coco": {"epochs": 20, "lr_decay_epochs": 15},
    }
    return {
        f"bfan-{gate}": Method(
            paper=BFAN,
            matcher=AttendingSettings(direction="both", attention_temperature=20.0, gate=gate),
            published=published,
        )
        for gate in ("equal", "prob")
    }


def _pfan() -> dict[str, Method]:
    """PFAN: SCAN over regions with position features (section 5)."""
    return {
        f"pfan-{direction}": Method(
            paper=PFAN,
            matcher=AttendingSettings(
                direction=direction,
                attention_temperature=temperature,
                max_attention_bonus=direction == "t2i",
            ),
            encoder={"positions": "released"},
            published={"coco": {"epochs": 30, "lr_decay_epochs": 15}},
        )
        for direction, temperature in (("t2i", 9.0), ("i2t", 4.0))
    }


def _sgraf() -> dict[str, Method]:
    """SGRAF: t2i attention, then graph reasoning (SGR) or filtering (SAF) of similarity vectors."""
    f30k = {
        "SAF": {"epochs": 30, "lr_decay_epochs": 20},
        "SGR": {"epochs": 40, "lr_decay_epochs": 30},
    }
    return {
        kind.lower(): Method(
            paper=SGRAF,
            matcher=AttendingSettings(attention_temperature=9.0, aggregation=kind),
            encoder={"image_pooling": "self_attention", "text_pooling": "self_attention"},
            on_real_images={"encoder.word_dropout": 0.4},
            published={
                "f30k": f30k[kind],
                "coco": {"epochs": 20, "lr_decay_epochs": 10, "learning_rate": 2e-4},
            },
        )
        for kind in ("SAF", "SGR")
    }


def _imram() -> dict[str, Method]:
    """IMRAM: three passes of SCAN's attention with refined queries, scores added."""
    return {
        f"imram-{name}": Method(
            paper=IMRAM,
            matcher=AttendingSettings(direction=direction, attention_temperature=9.0),
            regulator=RegulatorSettings(kind="memory", steps=3),
        )
        for name, direction in (("text", "t2i"), ("image", "i2t"), ("full", "both"))
    }


def _chan() -> dict[str, Method]:
    """CHAN: every word attends to its best region only; log-sum-exp over the words."""
    hard = AttendingSettings(
        attention="hard", aggregation="LSE", lse_temperature=10.0, lse_scaled=False
    )
    gru = {**SCHEDULE, "batch": 384}
    loss = {"margin": 0.05}
    return {
        "chan": Method(
            paper=CHAN,
            matcher=hard,
            encoder={"region_encoder": "self_attention", "word_init": "xavier"},
            loss=loss,
            on_real_images={**AUGMENTED, "training.weight_decay": 0.01},
            published={"f30k": gru, "coco": gru},
        ),
        "chan-bert": Method(
            paper=CHAN,
            matcher=AttendingSettings(attention="hard", aggregation="mean"),
            encoder={"text_encoder": "bert"},
            loss=loss,
            on_real_images={
                **AUGMENTED,
                "training.weight_decay": 1e-4,
                "training.bert_learning_rate": 5e-5,  # BERT is trained from the first step
            },
            published={"f30k": SCHEDULE, "coco": SCHEDULE},
        ),
    }


def _rcar() -> dict[str, Method]:
    """RCR, RAR and both, with SCAN's attention and the region branch of VSE-infinity."""
    on_real_images = {
        "encoder.word_dropout": 0.4,
        "training.optimiser": "adamw",
        "training.weight_decay": 0.01,
        "training.token_dropout": 0.2,
        "training.keep_special_tokens": True,
        "training.drop_last": True,
    }
    published = {
        "f30k": {**SCHEDULE, "epochs": 40, "lr_decay_epochs": 30, "loss.warmup_epochs": 3},
        "coco": {**SCHEDULE, "loss.warmup_epochs": 5},
    }
    rows = {}
    steps_of = {"none": (0, 0), "rcr": (2, 3), "rar": (3, 2), "rcar": (2, 2)}  # t2i, i2t
    for kind, (t2i, i2t) in steps_of.items():
        for direction, temperature, steps in (("t2i", 10.0, t2i), ("i2t", 3.0, i2t)):
            name = f"rcar-{direction}-base" if kind == "none" else f"{kind}-{direction}"
            rows[name] = Method(
                paper=RCAR,
                matcher=AttendingSettings(direction=direction, attention_temperature=temperature),
                regulator=RegulatorSettings(kind=kind, steps=steps),
                encoder={"region_encoder": "mlp"},
                on_real_images=on_real_images,
                published=published,
            )
    return rows


def _pooled() -> dict[str, Method]:
    """One vector per image and caption: VSE++, VSE-infinity (learned pooling), VSRN (graph)."""
    fragments = {"normalise_regions": False, "normalise_words": False}
    last = {**fragments, "bidirectional": False, "text_pooling": "last"}
    gpo = {"region_encoder": "mlp", "image_pooling": "gpo", "text_pooling": "gpo"}
    return {
        **{
            f"vse-{kind}": Method(
                paper=VSEPP, matcher=PooledSettings(), encoder={**last, "image_pooling": kind}
            )
            for kind in ("mean", "max")
        },
        "vse-gpo": Method(
            paper=GPO,
            matcher=PooledSettings(),
            encoder={**fragments, **gpo},
            on_real_images={**AUGMENTED, "training.weight_decay": 0.01},
            published={"f30k": SCHEDULE, "coco": SCHEDULE},
        ),
        "vsrn": Method(
            paper=VSRN,
            matcher=PooledSettings(),
            encoder={**last, "region_encoder": "graph", "image_pooling": "gru_norm"},
            published={
                "coco": {"encoder.region_encoder": "graph_coco", "encoder.image_pooling": "gru"}
            },
        ),
    }


METHODS: dict[str, Method] = (
    _scan() | _bfan() | _pfan() | _sgraf() | _imram() | _chan() | _rcar() | _pooled()
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Settings that depend on the data.

    Attributes:
        encoder, loss, training: settings of these parts.
        width: K, of similarity and alignment vectors.
        real_images: whether the ``on_real_images`` of the methods are used.
    """

    encoder: Changes = field(default_factory=dict)
    loss: Changes = field(default_factory=dict)
    training: Changes = field(default_factory=dict)
    width: int = 256
    real_images: bool = True


PROFILES: dict[str, Profile] = {
    "f30k": Profile(),
    "coco": Profile(training={"epochs": 20, "lr_decay_epochs": 10, "learning_rate": 5e-4}),
    "f8k": Profile(  # 6,000 photographs: a quarter of an hour to an hour on one core
        encoder={"embedding": 256},
        training={
            "epochs": 10,
            "lr_decay_epochs": 7,
            "learning_rate": 5e-4,
            "batch": 32,
            "dev_images": 200,
        },
        loss={"warmup_epochs": 1},
        width=64,  # a quarter of the common space, as in the papers
    ),
    "f8kbudget": Profile(  # the middle of a grid of budgets: minutes, with dropout as published
        encoder={"embedding": 128},
        loss={"warmup_epochs": 2},
        training={
            "epochs": 6,
            "lr_decay_epochs": 4,
            "learning_rate": 1e-3,
            "batch": 32,
            "train_images": 2000,
            "dev_images": 200,
        },
        width=32,
    ),
    "scenes": Profile(
        encoder={"embedding": 128, "word_width": 128},
        loss={"warmup_epochs": 2},
        training={"epochs": 9, "lr_decay_epochs": 7, "learning_rate": 1e-3, "batch": 64},
        width=64,
        real_images=False,
    ),
    "smoke": Profile(  # seconds on a laptop for Scenes-small; the book is built with it
        encoder={"embedding": 64, "word_width": 64},
        loss={"warmup_epochs": 4},  # with hardest negatives earlier, learned similarities collapse
        training={
            "epochs": 6,
            "lr_decay_epochs": 5,
            "learning_rate": 2e-3,
            "batch": 32,
            "dev_images": 50,
        },
        width=32,
        real_images=False,
    ),
}
DEFAULT_PROFILE = "scenes"

# settings that a plug-in changes; steps as released for t2i
PLUGINS: dict[str, dict[str, dict[str, Any]]] = {
    "rcr": {"regulator": {"kind": "rcr", "steps": 2}},
    "rar": {"regulator": {"kind": "rar", "steps": 3}},
    "rcar": {"regulator": {"kind": "rcar", "steps": 2}},
    "ccr": {"constraints": {"ccr": 1.0}},
    "ccs": {"constraints": {"ccs": 1.0}},
}
