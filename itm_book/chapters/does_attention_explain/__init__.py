"""The page "Does attention explain?": attention compared with attributions and ground truth."""

from __future__ import annotations

from itm_book.chapters.does_attention_explain.display import (
    attribution_maps,
    deletion_plot,
    deletion_table,
    difference_table,
    finding,
    localisation_table,
    tau_estimates,
    tau_plot,
    tau_table,
)
from itm_book.chapters.does_attention_explain.measures import (
    attribution_agreement,
    pair_attributions,
)

__all__ = [
    "attribution_agreement",
    "attribution_maps",
    "deletion_plot",
    "deletion_table",
    "difference_table",
    "finding",
    "localisation_table",
    "pair_attributions",
    "tau_estimates",
    "tau_plot",
    "tau_table",
]
