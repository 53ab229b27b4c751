"""The runs that a chapter compares: one named group for each row of its table."""

from __future__ import annotations

from collections.abc import Sequence

from itm_core.aggregation import AGGREGATIONS
from itm_core.attention import NORMALISATIONS
from itm_core.matchers.scan import DIRECTIONS
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
        for direction in DIRECTIONS
        for kind in AGGREGATIONS
    }
    for kind in NORMALISATIONS:
        if kind != DEFAULT_NORMALISATION:
            change = (f"matcher.normalisation={kind}",)
            rows[f"t2i mean, {kind}"] = (f"scan-t2i-mean{profile}", change)
    return {name: [Spec(r, seed, change) for seed in seeds] for name, (r, change) in rows.items()}
