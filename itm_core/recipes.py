"""Each paper's settings for each dataset: one frozen dataclass a row.

A recipe's name is ``<method>`` (its setting on Scenes) or ``<method>-<profile>``, where a
profile holds what depends on the data: width, epochs, rates. `names` lists them all.

Sources of the SCAN rows: the README of the release (github.com/kuanghuei/SCAN) and Table 1-3 of
the paper. Where they differ (lambda_1 of i-t AVG on MSCOCO) the rows follow the README.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import pandas as pd

from itm_core.encoders import EncoderSettings
from itm_core.errors import InputError
from itm_core.losses import HingeSettings
from itm_core.matchers import Matcher, Scan, ScanSettings
from itm_core.settings import at_least, one_of, positive

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a matcher is trained.

    Attributes:
        epochs: passes over the training captions.
        batch: caption-image pairs per step.
        learning_rate: of Adam.
        drop_every: epochs after which the rate is multiplied by 0.1, again and again.
        clip: largest norm of the whole gradient.
        dev_images: images of the development split used to choose the best epoch; the loaders
            of SCAN, BFAN and SGRAF take the first 1,000. ``None`` takes all.
        precision: ``float32``, or ``bfloat16`` for mixed precision on CUDA.
    """

    epochs: int = 30
    batch: int = 128
    learning_rate: float = 2e-4
    drop_every: int = 15
    clip: float = 2.0
    dev_images: int | None = 1000
    precision: str = "float32"

    def __post_init__(self) -> None:
        at_least("training.epochs", self.epochs, 1)
        at_least("training.batch", self.batch, 2)
        at_least("training.drop_every", self.drop_every, 1)
        positive("training.learning_rate", self.learning_rate)
        positive("training.clip", self.clip)
        if self.dev_images is not None:
            at_least("training.dev_images", self.dev_images, 1)
        one_of("training.precision", self.precision, PRECISIONS)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what is trained and how, but for the data and the seed."""

    name: str
    paper: str
    encoder: EncoderSettings = field(default_factory=EncoderSettings)
    matcher: ScanSettings = field(default_factory=ScanSettings)
    loss: HingeSettings = field(default_factory=HingeSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def replace(self, *changes: str) -> Recipe:
        """Return the recipe with some settings changed, each given as ``part.key=value``.

        Raises `InputError` for an unknown key, or a value that does not fit.

        >>> get("scan-t2i-mean").replace("training.epochs=2").training.epochs
        2
        """
        recipe = self
        for change in changes:
            recipe = _replaced(recipe, change)
        return recipe

    def build(self, feature_width: int, vocabulary_size: int) -> Matcher:
        """Return the recipe's matcher, freshly initialised."""
        return Scan(feature_width, vocabulary_size, self.encoder, self.matcher)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)


def _replaced(recipe: Recipe, change: str) -> Recipe:
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
        raise InputError(f"unknown key of {part}", expected=f"one of {', '.join(hints)}", found=key)
    value = _parsed(path, hints[key], text.strip())
    changed: Any = dataclasses.replace(settings, **{key: value})  # type: ignore[type-var]
    return dataclasses.replace(recipe, **{part: changed})


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


def from_dict(content: dict[str, Any]) -> Recipe:
    """Return the recipe that `Recipe.to_dict` gave; raises `InputError` for unknown keys."""
    hints = get_type_hints(Recipe)
    unknown = set(content) - set(hints)
    if unknown:
        raise InputError("unknown keys of a recipe", found=", ".join(sorted(unknown)))
    values: dict[str, Any] = {}
    for key, value in content.items():
        try:
            values[key] = hints[key](**value) if isinstance(value, dict) else value
        except TypeError as error:
            raise InputError(f"unknown key of {key}", found=str(error)) from None
    return Recipe(**values)


def _scan_rows() -> Iterable[tuple[str, ScanSettings]]:
    for direction, attention, lse in (("t2i", 9.0, 6.0), ("i2t", 4.0, 5.0)):
        for aggregation in ("mean", "LSE", "max", "sum"):
            yield (
                f"scan-{direction}-{aggregation}",
                ScanSettings(
                    direction=direction,
                    attention_temperature=attention,
                    aggregation=aggregation,
                    lse_temperature=lse,
                ),
            )


SCAN_PAPER = "Lee et al., Stacked Cross Attention for Image-Text Matching, ECCV 2018"
_PUBLISHED_ENCODER = EncoderSettings()
_SMALL_ENCODER = EncoderSettings(embedding=256, word_width=300)
_WARM = HingeSettings(warmup_epochs=1)

# what depends on the data: width of the common space, loss schedule, training budget
PROFILES: dict[str, tuple[EncoderSettings, HingeSettings, TrainingSettings]] = {
    "f30k": (_PUBLISHED_ENCODER, HingeSettings(), TrainingSettings()),
    "coco": (
        _PUBLISHED_ENCODER,
        HingeSettings(),
        TrainingSettings(epochs=20, drop_every=10, learning_rate=5e-4),
    ),
    "f8k": (_SMALL_ENCODER, _WARM, TrainingSettings(epochs=12, drop_every=7, learning_rate=1e-3)),
    "scenes": (
        EncoderSettings(embedding=128, word_width=128),
        _WARM,
        TrainingSettings(epochs=9, drop_every=7, learning_rate=1e-3, batch=64),
    ),
    "smoke": (  # seconds on a laptop, for Scenes-small; what the book is built with
        EncoderSettings(embedding=64, word_width=64),
        _WARM,
        TrainingSettings(epochs=4, drop_every=3, learning_rate=2e-3, batch=32, dev_images=50),
    ),
}
_DEFAULT_PROFILE = "scenes"


def _table() -> dict[str, Recipe]:
    rows: dict[str, Recipe] = {}
    for method, scan in _scan_rows():
        for profile, (encoder, loss, training) in PROFILES.items():
            name = method if profile == _DEFAULT_PROFILE else f"{method}-{profile}"
            matcher = scan
            if name == "scan-i2t-LSE-coco":  # lambda_2 of i-t LSE differs on MSCOCO (README)
                matcher = dataclasses.replace(scan, lse_temperature=20.0)
            rows[name] = Recipe(
                name=name,
                paper=SCAN_PAPER,
                encoder=encoder,
                matcher=matcher,
                loss=loss,
                training=training,
            )
    return rows


_RECIPES = _table()


def names() -> list[str]:
    """Return the names of all recipes."""
    return list(_RECIPES)


def get(name: str) -> Recipe:
    """Return the recipe called ``name``; raises `InputError` with the nearest names otherwise."""
    if name not in _RECIPES:
        near = difflib.get_close_matches(name, _RECIPES, 3) or list(_RECIPES)[:3]
        raise InputError(
            "unknown recipe",
            found=name,
            expected=f"for example {', '.join(near)}",
            remedy="`itm recipes` lists them all",
        )
    return _RECIPES[name]


def table() -> pd.DataFrame:
    """Return all recipes as rows: name, profile and the settings that differ between them."""
    rows = []
    for name, recipe in _RECIPES.items():
        scan, training = recipe.matcher, recipe.training
        lse = scan.lse_temperature if scan.aggregation == "LSE" else None
        rows.append(
            {
                "recipe": name,
                "lambda_1": scan.attention_temperature,
                "lambda_2": lse,
                "D": recipe.encoder.embedding,
                "epochs": training.epochs,
                "drop_every": training.drop_every,
                "rate": training.learning_rate,
                "batch": training.batch,
                "warmup": recipe.loss.warmup_epochs,
            }
        )
    return pd.DataFrame(rows)
