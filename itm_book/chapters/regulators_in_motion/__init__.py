"""The page "Regulators in motion": what RCR and RAR change, over all pairs of a split."""

from __future__ import annotations

from itm_book.chapters.regulators_in_motion.figures import (
    pass_distributions,
    pooling_distributions,
    pooling_ridges,
    quality_by_temperature,
)
from itm_book.chapters.regulators_in_motion.measures import (
    ablate,
    hard_negatives,
    mean_temperature_rise,
    regulator_trace,
    truncated_scores,
)
from itm_book.chapters.regulators_in_motion.tables import (
    ablation_table,
    contrast_table,
    correlation_table,
    finding,
    kind_table,
    largest_shift,
    pass_table,
    step_table,
    word_kinds,
)

__all__ = [
    "ablate",
    "ablation_table",
    "contrast_table",
    "correlation_table",
    "finding",
    "hard_negatives",
    "kind_table",
    "largest_shift",
    "mean_temperature_rise",
    "pass_distributions",
    "pass_table",
    "pooling_distributions",
    "pooling_ridges",
    "quality_by_temperature",
    "regulator_trace",
    "step_table",
    "truncated_scores",
    "word_kinds",
]
