"""Recipes: what is trained and how, as immutable settings with a name.

A recipe's name is ``<method>[+<plug-in>...][-<profile>]``: a method of `methods`, plug-ins that
can be combined with every host whose parts allow them (``rcr``, ``rar``, ``rcar``, ``ccr``,
``ccs``), and a profile with the settings that depend on the data: widths, epochs, rates. The
default profile is that of Scenes. ``scan-t2i-mean+rcar+ccs-f30k`` is a recipe.

Page: "Every method", "Add your own regulator".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Self

from pydantic import model_validator

from itm_core.constraints import CONSTRAINTS, ConstraintSettings, check_constraints
from itm_core.encoders.encoder import EncoderSettings
from itm_core.errors import InputError, did_you_mean, similar_names
from itm_core.experiments.effects import unused_widths
from itm_core.experiments.former_names import present_name, with_present_names
from itm_core.experiments.methods import DEFAULT_PROFILE, METHODS, PLUGINS, PROFILES, Method
from itm_core.models import Attending, AttendingSettings, Matcher, Pooled, PooledSettings
from itm_core.regulators import REGULATORS, RegulatorSettings, regulator_factory
from itm_core.settings import Settings
from itm_core.training.losses import LossSettings
from itm_core.training.settings import TrainingSettings


class Recipe(Settings):
    """Everything that decides what is trained and how, except the data and the seed.

    Raises `InputError` for a combination of parts that cannot work, with the reason.
    """

    name: str
    paper: str
    encoder: EncoderSettings = EncoderSettings()
    matcher: AttendingSettings | PooledSettings = AttendingSettings()
    regulator: RegulatorSettings = RegulatorSettings()
    constraints: ConstraintSettings = ConstraintSettings()
    loss: LossSettings = LossSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if isinstance(self.matcher, PooledSettings):
            _check_pooled(self)
        else:
            _check_attending(self, self.matcher)
        return self

    @property
    def parts(self) -> dict[str, Settings]:
        """The settings of each part, by its name."""
        return {name: value for name, value in self if isinstance(value, Settings)}

    def replace(self, *changes: str, **fields: Any) -> Self:
        """Return the recipe with some settings changed, each given as ``part.key=value``.

        Raises `InputError` for an unknown key, a value that does not fit, or a change without
        effect (`effects`). Changes that are valid only together (``matcher.attention=hard`` and
        ``matcher.gate=none``) may come in any order; of two of one setting the last counts.
        ``fields`` are those of the recipe itself, as in `Settings.replace`.

        >>> get("scan-t2i-mean").replace("training.epochs=2").training.epochs
        2
        """
        texts: dict[str, dict[str, str]] = {}
        for change in changes:
            part, key, text = _split_change(self, change)
            texts.setdefault(part, {})[key] = text
        parts = {
            part: type(settings).read({**dict(settings), **texts[part]})
            for part, settings in self.parts.items()
            if part in texts
        }
        recipe = super().replace(**parts, **fields)
        changed = [(part, key) for part, keys in texts.items() for key in keys]
        return recipe.changed(unused_widths(self.name, recipe.parts, self.parts, changed))

    def changed(self, parts: Mapping[str, Mapping[str, Any]]) -> Self:
        """Return the recipe with the given settings of each part changed."""
        return super().replace(
            **{part: self.parts[part].replace(**values) for part, values in parts.items()}
        )

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
        return self.model_dump()


def _check_pooled(recipe: Recipe) -> None:
    if "none" in (recipe.encoder.image_pooling, recipe.encoder.text_pooling):
        raise InputError(
            "this matcher compares pooled vectors",
            found="encoder.image_pooling or encoder.text_pooling is none",
            expected="a pooling for both, such as mean, max or gpo",
        )
    if recipe.regulator.active or recipe.constraints.active:
        raise InputError(
            "nothing to regulate or constrain",
            found=f"{recipe.name} with a plug-in",
            expected="a method with attention; this one compares one vector per image and caption",
        )


def _check_attending(recipe: Recipe, matcher: AttendingSettings) -> None:
    regulator = REGULATORS[recipe.regulator.kind] if recipe.regulator.active else None
    if matcher.attention == "hard" and regulator is not None and regulator.changes_attention:
        raise InputError(
            "this regulator corrects soft attention; hard attention has no gradient to learn from",
            found=f"{recipe.regulator.kind} with hard attention",
            remedy="use rar (regulator.kind=rar), which pools alignments only",
        )
    check_constraints(recipe.constraints, attention=matcher.attention, direction=matcher.direction)
    if matcher.uses_nodes and regulator is not None and regulator.sums_scores:
        raise InputError(
            "this regulator adds the cosine scores of its passes",
            found=f"{recipe.regulator.kind} with {matcher.aggregation}",
            expected=f"an aggregation of cosines; {matcher.aggregation} scores once",
        )
    pools = regulator is not None and regulator.pools
    poolings = (recipe.encoder.image_pooling, recipe.encoder.text_pooling)
    if matcher.uses_nodes and not pools and "none" in poolings:
        raise InputError(
            f"{matcher.aggregation} also compares pooled vectors",
            found="encoder.image_pooling or encoder.text_pooling is none",
            expected="a pooling for both; SGRAF's is self_attention",
        )


def _split_change(recipe: Recipe, change: str) -> tuple[str, str, str]:
    """Return part, key and text of ``part.key=text``."""
    path, equals, text = change.partition("=")
    part, dot, key = path.strip().partition(".")
    if not equals or not dot or part not in recipe.parts:
        raise InputError(
            "unknown setting",
            expected=f"PART.KEY=VALUE with PART one of {', '.join(recipe.parts)}",
            found=change,
            remedy=did_you_mean(part, recipe.parts) if dot and equals else None,
        )
    if new_name := present_name(part, key):
        raise InputError(f"unknown key of {part}", found=key, remedy=f"use its name {new_name}")
    return part, key, text.strip()


def from_dict(content: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.to_dict` gave; raises `InputError` for unknown keys."""
    kinds: dict[str, type[Settings]] = {
        part: type(field.default)
        for part, field in Recipe.model_fields.items()
        if isinstance(field.default, Settings)
    }
    if "measure" in content.get("matcher", {}):
        kinds["matcher"] = PooledSettings
    values: dict[str, Any] = {
        name: kinds[name](**value) if name in kinds else value
        for name, value in with_present_names(content).items()
    }
    return Recipe(**values)


def names() -> list[str]:
    """Return the names of all recipes without plug-ins."""
    return [
        method if profile == DEFAULT_PROFILE else f"{method}-{profile}"
        for method in METHODS
        for profile in PROFILES
    ]


def get(name: str) -> Recipe:
    """Return the recipe called ``name``; raises `InputError` with similar names if there is none.

    It has its `canonical_name`, so that the same recipe is the same run.

    >>> get("bfan-prob+rcr-smoke").regulator.kind
    'rcr'
    """
    method, plugins, profile = split_name(name)
    if method not in METHODS:
        raise _unknown_recipe(name)
    recipe = _composed(canonical_name(name), METHODS[method], profile)
    for plugin in plugins:
        recipe = _with_plugin(recipe, plugin)
    return recipe


def canonical_name(name: str) -> str:
    """Return the one name of a recipe, however its plug-ins are ordered.

    Raises `InputError` for a plug-in that is given twice.

    >>> canonical_name("saf+ccs+ccr+rcr-scenes")
    'saf+rcr+ccr+ccs'
    """
    method, plugins, profile = split_name(name)
    ordered = sorted(plugins, key=lambda plugin: (plugin in CONSTRAINTS, plugin))
    for plugin, next_one in pairwise(ordered):
        if plugin == next_one:
            raise InputError(f"{plugin} is given twice", found=name, remedy="name it once")
    ending = "" if profile == DEFAULT_PROFILE else f"-{profile}"
    return "+".join([method, *ordered]) + ending


def _unknown_recipe(name: str) -> InputError:
    host, plus, _ = name.partition("+")
    similar = similar_names(host, METHODS if plus else names())
    meant = "+".join([similar[0], name.partition("+")[2]]) if similar and plus else None
    return InputError(
        "unknown recipe",
        found=name,
        expected=f"for example {', '.join(similar or list(METHODS)[:3])}",
        remedy=f"did you mean {meant or similar[0]}?"
        if similar
        else "`itm recipes` lists them all",
    )


def split_name(name: str) -> tuple[str, list[str], str]:
    """Return method, plug-ins and profile of a recipe's name."""
    prefix, dash, profile = name.rpartition("-")
    if not dash or profile not in PROFILES:
        prefix, profile = name, DEFAULT_PROFILE
    method, *plugins = prefix.split("+")
    return method, plugins, profile


def _composed(name: str, method: Method, profile_name: str) -> Recipe:
    profile = PROFILES[profile_name]
    parts = {
        "encoder": {**profile.encoder, **method.encoder},
        "loss": {**profile.loss, **method.loss},
        "training": dict(profile.training),
    }
    if profile.real_images:
        _set_values(parts, method.on_real_images)
    _set_values(parts, method.published.get(profile_name, {}))
    matcher = method.matcher
    if isinstance(matcher, AttendingSettings):
        matcher = matcher.replace(width=profile.width)
    if method is METHODS["scan-i2t-LSE"] and profile_name == "coco":
        # lambda_2 of i-t LSE differs on MSCOCO (README)
        assert isinstance(matcher, AttendingSettings)
        matcher = matcher.replace(lse_temperature=20.0)
    return Recipe(
        name=name,
        paper=method.paper,
        encoder=EncoderSettings(**parts["encoder"]),
        matcher=matcher,
        regulator=method.regulator.replace(width=profile.width),
        loss=LossSettings(**parts["loss"]),
        training=TrainingSettings(**parts["training"]),
    )


def _set_values(parts: dict[str, dict[str, Any]], changes: Mapping[str, Any]) -> None:
    """Set values given as ``part.key``, or as a key of training."""
    for path, value in changes.items():
        part, dot, key = path.rpartition(".")
        parts[part if dot else "training"][key] = value


def _with_plugin(recipe: Recipe, plugin: str) -> Recipe:
    changes = PLUGINS.get(plugin)
    if changes is None and plugin in REGULATORS:  # registered by the user
        changes = {"regulator": {"kind": plugin}}
    if changes is None:
        raise InputError(
            "unknown plug-in",
            found=plugin,
            expected=f"one of {', '.join(dict.fromkeys((*PLUGINS, *REGULATORS)))}",
            remedy=did_you_mean(plugin, (*PLUGINS, *REGULATORS)),
        )
    if "regulator" in changes and recipe.regulator.active:
        raise InputError(
            "one regulator at a time",
            found=f"{plugin} on {recipe.name.split('+')[0]}, which has {recipe.regulator.kind}",
            expected="rcar for RCR and RAR together",
        )
    return recipe.changed(changes)
