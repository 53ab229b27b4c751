"""The runs that a chapter compares: one named group for each row of its table."""

from __future__ import annotations

from collections.abc import Sequence

from itm_core.attention import NORMALISATIONS
from itm_core.runs import Spec

DEFAULT_NORMALISATION = "clipped_l2norm"


def scan_choices(profile: str, seeds: Sequence[int]) -> dict[str, list[Spec]]:
    """Return SCAN's choices: both directions with every aggregation, and every normalisation.

    Args:
        profile: ending of the recipes' names, such as ``-smoke``; empty for the Scenes setting.
        seeds: each row is run with all of them.

    >>> list(scan_choices("-smoke", [0]))[:2]
    ['t2i mean', 't2i LSE']
    """
    rows: dict[str, tuple[str, tuple[str, ...]]] = {
        f"{direction} {kind}": (f"scan-{direction}-{kind}{profile}", ())
        for direction in ("t2i", "i2t")
        for kind in ("mean", "LSE", "max", "sum")
    }
    for kind in NORMALISATIONS:
        if kind != DEFAULT_NORMALISATION:
            change = (f"matcher.normalisation={kind}",)
            rows[f"t2i mean, {kind}"] = (f"scan-t2i-mean{profile}", change)
    return {name: [Spec(r, seed, change) for seed in seeds] for name, (r, change) in rows.items()}


# every method of the three papers and of their hosts; a row of the table of methods each
METHOD_ROWS: dict[str, tuple[str, ...]] = {
    "one vector a side": ("vse-mean", "vse-max", "vse-gpo", "vsrn"),
    "hosts": (
        "scan-t2i-mean",
        "scan-i2t-mean",
        "bfan-equal",
        "bfan-prob",
        "pfan-t2i",
        "pfan-i2t",
        "saf",
        "sgr",
        "imram-text",
    ),
    "CHAN": ("chan",),
    "regulators": (
        "rcar-t2i-base",
        "rcr-t2i",
        "rar-t2i",
        "rcar-t2i",
        "rcar-i2t-base",
        "rcr-i2t",
        "rar-i2t",
        "rcar-i2t",
    ),
    "constraints (a reading)": (
        "scan-t2i-mean+ccr",
        "scan-t2i-mean+ccs",
        "scan-t2i-mean+ccr+ccs",
        "scan-i2t-mean+ccr+ccs",
        "bfan-prob+ccr+ccs",
        "pfan-t2i+ccr+ccs",
        "saf+ccr+ccs",
        "sgr+ccr+ccs",
        "rcar-t2i+ccr+ccs",
    ),
}
VARIANTS: dict[str, tuple[str, ...]] = {
    "pfan-t2i, no bonus": ("matcher.max_attention_bonus=false",),
    "chan, LSE / lambda": ("matcher.lse_scaled=true",),
    "chan, mean pooling": ("matcher.aggregation=mean",),
    "chan, per region": ("matcher.direction=i2t",),
    "chan, soft": (
        "matcher.attention=soft",
        "matcher.normalisation=no_norm",
        "matcher.attention_temperature=10",
        "matcher.alignment=dot",
    ),
}


def every_method(profile: str, seeds: Sequence[int]) -> dict[str, list[Spec]]:
    """Return the rows of the table of methods, `METHOD_ROWS` and their variants.

    >>> every_method("-smoke", [0])["chan"][0].recipe
    'chan-smoke'
    """
    rows: dict[str, tuple[str, tuple[str, ...]]] = {}
    for names in METHOD_ROWS.values():
        for name in names:
            rows[name] = (name, ())
            for variant, changes in VARIANTS.items():
                if variant.startswith(f"{name},"):
                    rows[variant] = (name, changes)
    return {
        name: [Spec(recipe + profile, seed, changes) for seed in seeds]
        for name, (recipe, changes) in rows.items()
    }
