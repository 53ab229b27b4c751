"""One grammar for every experiment: a frozen dataclass that says what is trained and how.

A recipe's name is ``<method>[+<plug-in>...][-<profile>]``: a method of `methods`, plug-ins that
go on any host whose parts allow them (``rcr``, ``rar``, ``rcar``, ``ccr``, ``ccs``), and a
profile that holds what depends on the data: widths, epochs, rates. Without a profile the
setting is that of Scenes. ``scan-t2i-mean+rcar+ccs-f30k`` is a recipe.

Page: "Every method", "Add your own regulator".
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import pandas as pd
import torch

from itm_core import regulators
from itm_core.constraints import ConstraintSettings, check_constraints
from itm_core.encoders.encoder import EncoderSettings
from itm_core.errors import InputError
from itm_core.evaluation.scoring import PRECISIONS
from itm_core.experiments.former_names import present_name, with_present_names
from itm_core.experiments.methods import DEFAULT_PROFILE, METHODS, PLUGINS, PROFILES, Method
from itm_core.models import Attending, AttendingSettings, Matcher, Pooled, PooledSettings
from itm_core.regulators import REGULATORS, RegulatorSettings, regulator_factory
from itm_core.settings import at_least, not_negative, one_of, positive, share
from itm_core.training.feature_cache import HOLDING
from itm_core.training.losses import LossSettings

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
TRAINING_PRECISIONS = (*PRECISIONS, "float64")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a matcher is trained.

    Attributes:
        epochs: passes over the training captions.
        batch: caption-image pairs per step.
        learning_rate: of the optimiser.
        bert_learning_rate: of BERT's own weights (CHAN); ``None`` takes ``learning_rate``.
        lr_decay_epochs: epochs after which the rate is multiplied by 0.1, again and again.
        optimiser: ``adam``, or ``adamw`` with its decoupled decay.
        weight_decay: of AdamW, on every parameter, biases included.
        grad_clip: largest norm of the whole gradient.
        region_dropout: share of the regions left out of a training image (CHAN, VSE-infinity).
        token_dropout: share of the tokens masked, exchanged or left out of a training caption.
        keep_special_tokens: ``<start>`` and ``<end>`` are never dropped (RCAR; not in CHAN).
        drop_last: leave out the last, smaller batch of an epoch.
        dev_images: images of the development split used to choose the best epoch; the loaders
            of SCAN, BFAN and SGRAF take the first 1,000. ``None`` takes all.
        precision: ``float32``, or ``float64`` for weights and features in double precision; on
            CUDA also ``tf32``, or ``bfloat16`` for mixed precision.
        averaging: share of all steps, the last ones, whose weights are averaged; the average is
            what is evaluated and kept from its first step on. 0 evaluates the weights themselves.
        feature_cache: ``auto`` keeps the features on a GPU with room; ``float16`` halves them.
    """

    epochs: int = 30
    batch: int = 128
    learning_rate: float = 2e-4
    bert_learning_rate: float | None = None
    lr_decay_epochs: int = 15
    optimiser: str = "adam"
    weight_decay: float = 0.0
    grad_clip: float = 2.0
    region_dropout: float = 0.0
    token_dropout: float = 0.0
    keep_special_tokens: bool = False
    drop_last: bool = False
    dev_images: int | None = 1000
    precision: str = "float32"
    averaging: float = 0.0
    feature_cache: str = "auto"

    def __post_init__(self) -> None:
        at_least("training.epochs", self.epochs, 1)
        at_least("training.batch", self.batch, 2)
        at_least("training.lr_decay_epochs", self.lr_decay_epochs, 1)
        positive("training.learning_rate", self.learning_rate)
        positive("training.grad_clip", self.grad_clip)
        not_negative("training.weight_decay", self.weight_decay)
        share("training.region_dropout", self.region_dropout)
        share("training.token_dropout", self.token_dropout)
        share("training.averaging", self.averaging)
        if self.bert_learning_rate is not None:
            positive("training.bert_learning_rate", self.bert_learning_rate)
        if self.dev_images is not None:
            at_least("training.dev_images", self.dev_images, 1)
        one_of("training.precision", self.precision, TRAINING_PRECISIONS)
        one_of("training.feature_cache", self.feature_cache, HOLDING)
        one_of("training.optimiser", self.optimiser, OPTIMISERS)
        if self.weight_decay and self.optimiser == "adam":
            raise InputError(
                "weight decay needs AdamW",
                found=f"training.weight_decay={self.weight_decay} with adam",
                remedy="set training.optimiser=adamw, or training.weight_decay=0",
            )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what is trained and how, but for the data and the seed.

    Raises `InputError` for a combination that cannot be, with the reason.
    """

    name: str
    paper: str
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    matcher: AttendingSettings | PooledSettings = field(default_factory=AttendingSettings)
    regulator: RegulatorSettings = field(default_factory=RegulatorSettings)
    constraints: ConstraintSettings = field(default_factory=ConstraintSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if isinstance(self.matcher, PooledSettings):
            _check_pooled(self)
        else:
            _check_attending(self, self.matcher)

    def replace(self, *changes: str) -> Recipe:
        """Return the recipe with some settings changed, each given as ``part.key=value``.

        Raises `InputError` for an unknown key, or a value that does not fit. Changes that only
        fit together (``matcher.attention=hard`` and ``matcher.gate=none``) may come in any order.

        >>> get("scan-t2i-mean").replace("training.epochs=2").training.epochs
        2
        """
        parts: dict[str, dict[str, object]] = {}
        for change in changes:
            part, key, value = _read(self, change)
            parts.setdefault(part, {})[key] = value
        return self.changed(parts)

    def changed(self, parts: Mapping[str, Mapping[str, Any]]) -> Recipe:
        """Return the recipe with the given settings of each part changed."""
        new = {
            part: dataclasses.replace(getattr(self, part), **values)
            for part, values in parts.items()
        }
        return dataclasses.replace(self, **new)

    def build(self, feature_width: int, vocabulary_size: int, region_count: int = 36) -> Matcher:
        """Return the recipe's matcher, freshly initialised.

        ``feature_width`` counts the columns of the features, positions included.
        """
        sizes = feature_width, vocabulary_size, self.encoder
        matcher: Matcher
        if isinstance(self.matcher, PooledSettings):
            matcher = Pooled(*sizes, self.matcher, region_count)
        else:
            regulator = regulator_factory(self.regulator)
            matcher = Attending(*sizes, self.matcher, regulator, region_count)
        return matcher.double() if self.training.precision == "float64" else matcher

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)


def _check_pooled(recipe: Recipe) -> None:
    if "none" in (recipe.encoder.image_pooling, recipe.encoder.text_pooling):
        raise InputError(
            "this matcher compares whole vectors",
            found="encoder.image_pooling or encoder.text_pooling is none",
            expected="a pooling for both, such as mean, max or gpo",
        )
    if recipe.regulator.active or recipe.constraints.active:
        raise InputError(
            "nothing to regulate or constrain",
            found=f"{recipe.name} with a plug-in",
            expected="a method that attends: here no word ever meets a region",
        )


def _check_attending(recipe: Recipe, matcher: AttendingSettings) -> None:
    regulator = REGULATORS[recipe.regulator.kind] if recipe.regulator.active else None
    if matcher.attention == "hard" and regulator is not None and regulator.changes_attention:
        raise InputError(
            "this regulator steers soft attention",
            found=f"{recipe.regulator.kind} with hard attention",
            expected="a choice of one fragment has no gradient: nothing would be learned; "
            "regulator.kind=rar, which only pools, can be used",
        )
    check_constraints(recipe.constraints, attention=matcher.attention, direction=matcher.direction)
    if matcher.uses_nodes and regulator is not None and regulator.sums_scores:
        raise InputError(
            "this regulator adds the cosine scores of its passes",
            found=f"{recipe.regulator.kind} with {matcher.aggregation}",
            expected=f"an aggregation of cosines; {matcher.aggregation} scores once",
        )
    pools = regulator is not None and regulator.pools
    wholes = (recipe.encoder.image_pooling, recipe.encoder.text_pooling)
    if matcher.uses_nodes and not pools and "none" in wholes:
        raise InputError(
            f"{matcher.aggregation} compares whole vectors too",
            found="encoder.image_pooling or encoder.text_pooling is none",
            expected="a pooling for both; SGRAF's is self_attention",
        )


def _read(recipe: Recipe, change: str) -> tuple[str, str, object]:
    """Return part, key and value of ``part.key=value``."""
    path, equals, text = change.partition("=")
    part, dot, key = path.strip().partition(".")
    settings = getattr(recipe, part, None)
    if not equals or not dot or not dataclasses.is_dataclass(settings):
        parts = [f.name for f in dataclasses.fields(recipe) if f.name not in ("name", "paper")]
        raise InputError(
            "unknown setting",
            expected=f"PART.KEY=VALUE with PART one of {', '.join(parts)}",
            found=change,
        )
    hints = get_type_hints(type(settings))
    if key not in hints:
        present = present_name(part, key)
        raise InputError(
            f"unknown key of {part}",
            expected=f"one of {', '.join(hints)}",
            found=key,
            remedy=f"it is called {present} now" if present else None,
        )
    return part, key, _parsed(path, hints[key], text.strip())


def _parsed(name: str, kind: Any, text: str) -> object:
    """Read ``text`` as the type that the field ``name`` has."""
    kinds = kind.__args__ if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in kinds and text.lower() in ("none", "null"):
        return None
    wanted = kinds[0]
    if wanted is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        if wanted is not bool:
            return wanted(text)
    except ValueError:
        pass
    raise InputError(f"{name} has a value of the wrong type", expected=wanted.__name__, found=text)


def from_dict(content: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.to_dict` gave; raises `InputError` for unknown keys."""
    content = with_present_names(content)
    hints = get_type_hints(Recipe)
    unknown = set(content) - set(hints)
    if unknown:
        raise InputError("unknown keys of a recipe", found=", ".join(sorted(unknown)))
    values: dict[str, Any] = {}
    for key, value in content.items():
        kind = hints[key]
        if key == "matcher":
            kind = PooledSettings if "measure" in value else AttendingSettings
        try:
            values[key] = kind(**value) if isinstance(value, Mapping) else value
        except TypeError as error:
            raise InputError(f"unknown key of {key}", found=str(error)) from None
    return Recipe(**values)


def defaults(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return the default settings of every part that a recipe has."""
    parts = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    kinds: dict[str, Any] = {
        part: type(value) for part, value in parts.items() if dataclasses.is_dataclass(value)
    }
    return {part: dataclasses.asdict(kind()) for part, kind in kinds.items()}


def names() -> list[str]:
    """Return the names of all recipes without plug-ins."""
    return [
        method if profile == DEFAULT_PROFILE else f"{method}-{profile}"
        for method in METHODS
        for profile in PROFILES
    ]


def get(name: str) -> Recipe:
    """Return the recipe called ``name``; raises `InputError` with the nearest names otherwise.

    >>> get("bfan-prob+rcr-smoke").regulator.kind
    'rcr'
    """
    method, plugins, profile = split_name(name)
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, 3) or list(METHODS)[:3]
        raise InputError(
            "unknown recipe",
            found=name,
            expected=f"for example {', '.join(near)}",
            remedy="`itm recipes` lists them all",
        )
    recipe = _composed(name, METHODS[method], profile)
    for plugin in plugins:
        recipe = _plugged(recipe, plugin)
    return recipe


def split_name(name: str) -> tuple[str, list[str], str]:
    """Return method, plug-ins and profile of a recipe's name."""
    rest, dash, profile = name.rpartition("-")
    if not dash or profile not in PROFILES:
        rest, profile = name, DEFAULT_PROFILE
    method, *plugins = rest.split("+")
    return method, plugins, profile


def _composed(name: str, method: Method, profile_name: str) -> Recipe:
    profile = PROFILES[profile_name]
    own = {
        "encoder": {**profile.encoder, **method.encoder},
        "loss": {**profile.loss, **method.loss},
        "training": dict(profile.training),
    }
    if profile.real_images:
        _place(own, method.on_real_images)
    _place(own, method.published.get(profile_name, {}))
    matcher = method.matcher
    if isinstance(matcher, AttendingSettings):
        matcher = dataclasses.replace(matcher, width=profile.width)
    if method is METHODS["scan-i2t-LSE"] and profile_name == "coco":
        # lambda_2 of i-t LSE differs on MSCOCO (README)
        assert isinstance(matcher, AttendingSettings)
        matcher = dataclasses.replace(matcher, lse_temperature=20.0)
    return Recipe(
        name=name,
        paper=method.paper,
        encoder=EncoderSettings(**own["encoder"]),
        matcher=matcher,
        regulator=dataclasses.replace(method.regulator, width=profile.width),
        loss=LossSettings(**own["loss"]),
        training=TrainingSettings(**own["training"]),
    )


def _place(parts: dict[str, dict[str, Any]], changes: Mapping[str, Any]) -> None:
    """Put ``part.key`` (or a key of training) where it belongs."""
    for path, value in changes.items():
        part, dot, key = path.rpartition(".")
        parts[part if dot else "training"][key] = value


def _plugged(recipe: Recipe, plugin: str) -> Recipe:
    changes = PLUGINS.get(plugin)
    if changes is None and plugin in REGULATORS:  # one of the reader's own
        changes = {"regulator": {"kind": plugin}}
    if changes is None:
        raise InputError(
            "unknown plug-in",
            found=plugin,
            expected=f"one of {', '.join(dict.fromkeys((*PLUGINS, *regulators.REGULATORS)))}",
        )
    if "regulator" in changes and recipe.regulator.active:
        raise InputError(
            "one regulator at a time",
            found=f"{plugin} on {recipe.name.split('+')[0]}, which has {recipe.regulator.kind}",
            expected="rcar for RCR and RAR together",
        )
    return recipe.changed(changes)


def table(profiles: tuple[str, ...] = tuple(PROFILES)) -> pd.DataFrame:
    """Return all recipes as rows: name and the settings that differ between them."""
    chosen = [name for name in names() if split_name(name)[2] in profiles]
    return pd.DataFrame([_row(get(name)) for name in chosen])


def _row(recipe: Recipe) -> dict[str, object]:
    matcher, training, regulator = recipe.matcher, recipe.training, recipe.regulator
    row: dict[str, object] = {"recipe": recipe.name}
    if isinstance(matcher, AttendingSettings):
        lse = matcher.aggregation in ("LSE", "softmax")
        soft = matcher.attention == "soft"
        row |= {
            "direction": matcher.direction,
            "attention": matcher.attention if matcher.gate == "none" else matcher.gate,
            "lambda_1": matcher.attention_temperature if soft else None,
            "aggregation": "RAR" if regulator.kind in ("rar", "rcar") else matcher.aggregation,
            "lambda_2": matcher.lse_temperature if lse else None,
            "regulator": f"{regulator.kind} {regulator.steps}" if regulator.active else "",
        }
    else:
        row |= {"direction": "", "attention": "", "aggregation": recipe.encoder.image_pooling}
    return row | {
        "regions": recipe.encoder.region_encoder,
        "words": recipe.encoder.text_encoder,
        "D": recipe.encoder.embedding,
        "margin": recipe.loss.margin,
        "epochs": training.epochs,
        "lr_decay_epochs": training.lr_decay_epochs,
        "rate": training.learning_rate,
        "batch": training.batch,
        "warmup": recipe.loss.warmup_epochs,
    }
