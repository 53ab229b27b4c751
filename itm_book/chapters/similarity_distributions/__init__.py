"""The page "Similarity distributions": margins, types of errors, joint failures, and hubs."""

from __future__ import annotations

from itm_book.chapters.similarity_distributions.figures import (
    ensemble_scatter,
    error_rate_curves,
    failure_counts,
    kappa_heatmap,
    margin_ridges,
    score_ridges,
    stacked_bars,
)
from itm_book.chapters.similarity_distributions.hubs import (
    hub_effects,
    hub_figure,
    hub_summary,
    hub_table,
)
from itm_book.chapters.similarity_distributions.measures import (
    ensemble_gains,
    error_rates,
    error_types,
    failure_kappa,
    failures,
    joint_failures,
    positive_ranks,
)
from itm_book.chapters.similarity_distributions.tables import (
    ensemble_summary,
    ensemble_table,
    error_type_table,
    finding,
    hardest_captions,
    joint_failure_table,
    margin_table,
)

__all__ = [
    "ensemble_gains",
    "ensemble_scatter",
    "ensemble_summary",
    "ensemble_table",
    "error_rate_curves",
    "error_rates",
    "error_type_table",
    "error_types",
    "failure_counts",
    "failure_kappa",
    "failures",
    "finding",
    "hardest_captions",
    "hub_effects",
    "hub_figure",
    "hub_summary",
    "hub_table",
    "joint_failure_table",
    "joint_failures",
    "kappa_heatmap",
    "margin_ridges",
    "margin_table",
    "positive_ranks",
    "score_ridges",
    "stacked_bars",
]
