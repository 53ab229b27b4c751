"""The list of recipes: methods, plug-ins and endings; and all settings of one.

Page: "Every method".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from itm_core.cached_lines import cached_lines, modules_of

if TYPE_CHECKING:
    import pandas as pd

    from itm_core.experiments.recipes import Recipe

HEAD = "a recipe: METHOD[+PLUG-IN...][-ENDING], such as scan-t2i-mean+rcar-f30k"
BASE = "scan-t2i-mean"  # whose settings are shown for each ending
FOOT = "itm recipes RECIPE shows all settings of a recipe, and its paper."
PLUGINS = {  # what the shipped ones do, in a line
    "rcr": "regulator: corrects the attention of the next pass (RCAR's first part)",
    "rar": "regulator: pools the alignments in the place of the aggregation (RCAR's second part)",
    "rcar": "regulator: both",
    "ccr": "constraint: attended content must matter more than what is not attended to",
    "ccs": "constraint: the score must fall when attended content is swapped",
}


def lines() -> list[str]:
    """Return the list, without importing torch where it was printed before."""
    return cached_lines("recipes", modules_of("itm_core"), _lines)


def completions(prefix: str) -> list[str]:
    """Return names that may begin with a prefix, as fast as `lines`: plug-ins follow a plus.

    >>> completions("chan+rc")[:2]
    ['chan+rcr', 'chan+rar']
    """
    host, plus, _ = prefix.rpartition("+")
    if plus:
        return [f"{host}+{plugin}" for plugin in PLUGINS]
    return cached_lines("recipe_names", modules_of("itm_core"), _names)


def settings(chosen: Sequence[str]) -> list[str]:
    """Return every setting of some recipes, as ``--set`` takes them.

    Raises `InputError` for an unknown recipe.
    """
    from itm_core.experiments import recipes

    printed: list[str] = []
    for recipe in [recipes.get(name) for name in chosen]:
        printed += ["", f"{recipe.name}: {recipe.paper}"]
        printed += [
            f"  {part}.{key}={_shown(value)}"
            for part, values in recipe.parts.items()
            for key, value in values
        ]
    return printed[1:]


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def _names() -> list[str]:
    from itm_core.experiments import recipes

    return recipes.names()


def _lines() -> list[str]:
    import pandas as pd

    from itm_core.experiments.methods import DEFAULT_PROFILE, METHODS, PROFILES
    from itm_core.experiments.recipes import get

    methods = pd.DataFrame([_method(name, get(name)) for name in METHODS])
    endings = pd.DataFrame(
        [
            _ending("(none)" if name == DEFAULT_PROFILE else f"-{name}", get(f"{BASE}-{name}"))
            for name in PROFILES
        ]
    )
    return [
        *(HEAD, "", "methods (lambda_1: temperature of the attention; lambda_2: of LSE)"),
        *_table(methods),
        *("", "plug-ins"),
        *(f"  {name:6}{text}" for name, text in PLUGINS.items()),
        *("", f"endings, with the settings of {BASE}; methods with published ones differ"),
        *_table(endings),
        *("", FOOT),
    ]


def _table(rows: pd.DataFrame) -> list[str]:
    """Return the lines of a data frame, texts to the left."""
    import pandas as pd

    left = {
        name: f"{{:<{max(len(name), *rows[name].str.len())}}}".format
        for name in rows.columns
        if pd.api.types.is_string_dtype(rows[name])
    }
    text = rows.to_string(index=False, na_rep="", formatters=left, justify="left")
    return [f"  {line}".rstrip() for line in text.splitlines()]


def _method(name: str, recipe: Recipe) -> dict[str, str]:
    from itm_core.models import AttendingSettings

    matcher, regulator, encoder = recipe.matcher, recipe.regulator, recipe.encoder
    encoders = {"regions": encoder.region_encoder, "words": encoder.text_encoder}
    if not isinstance(matcher, AttendingSettings):
        pooled = {"direction": "", "attention": "none", "lambda_1": ""}
        pooling = {"aggregation": encoder.image_pooling, "lambda_2": "", "regulator": ""}
        return {"method": name} | pooled | pooling | encoders
    lse = matcher.aggregation in ("LSE", "softmax")
    soft = matcher.attention == "soft"
    return {
        "method": name,
        "direction": matcher.direction,
        "attention": matcher.attention if matcher.gate == "none" else matcher.gate,
        "lambda_1": f"{matcher.attention_temperature:g}" if soft else "",
        "aggregation": "RAR" if regulator.kind in ("rar", "rcar") else matcher.aggregation,
        "lambda_2": f"{matcher.lse_temperature:g}" if lse else "",
        "regulator": f"{regulator.kind} {regulator.steps}" if regulator.active else "",
    } | encoders


def _ending(ending: str, recipe: Recipe) -> dict[str, object]:
    training = recipe.training
    return {
        "ending": ending,
        "D": recipe.encoder.embedding,
        "K": recipe.regulator.width,
        "epochs": training.epochs,
        "rate falls after": f"{training.lr_decay_epochs} epochs",
        "learning rate": f"{training.learning_rate:g}",
        "batch": f"{training.batch} pairs",
        "all negatives for": f"{recipe.loss.warmup_epochs} epochs",
    }
