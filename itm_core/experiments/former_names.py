"""Former names of settings, so that runs and records made with them can still be read.

The name of a run's folder contains a hash of its settings. The hash is computed with the former
names, so that renaming a setting leaves the folders of existing runs valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMER: dict[str, dict[str, str]] = {  # part of a recipe: setting -> what it was called
    "encoder": {
        "region_encoder": "regions",
        "text_encoder": "words",
        "word_init": "word_start",
        "image_pooling": "whole_regions",
        "text_pooling": "whole_words",
    },
    "training": {
        "lr_decay_epochs": "drop_every",
        "grad_clip": "clip",
        "feature_cache": "held",
        "keep_special_tokens": "spare_ends",
        "token_dropout": "drop_words",
        "region_dropout": "drop_regions",
    },
}
PRESENT = {part: {old: new for new, old in names.items()} for part, names in FORMER.items()}


def with_former_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's nested dictionary with its settings under their former names."""
    return _renamed(recipe, FORMER)


def with_present_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe's nested dictionary with former names replaced by those of today."""
    return _renamed(recipe, PRESENT)


def _renamed(recipe: Mapping[str, Any], names: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {
        part: {names.get(part, {}).get(key, key): value for key, value in settings.items()}
        if isinstance(settings, Mapping)
        else settings
        for part, settings in recipe.items()
    }


def present_name(part: str, key: str) -> str | None:
    """Return the present name of the setting formerly called ``key``; None if there is none.

    >>> present_name("training", "drop_every")
    'lr_decay_epochs'
    """
    return PRESENT.get(part, {}).get(key)
