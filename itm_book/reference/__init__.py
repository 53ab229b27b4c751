"""Naive reference implementations: the papers' equations in plain lines, one pair at a time.

The chapters show their source. They share no mathematics with the package, only its validation of
names; tests compare the two, benchmarks time both. A pair is scored from embedded ``query [L, D]``
and ``keys [R, D]``, all pairs from regions ``[I, R, D]`` and words ``[C, L, D]`` in a loop over
captions, and, where a method has parameters, from a dictionary of them under the names of the
authors' release. Each is checked against the authors' own numbers in
``tests/itm_book/reference/test_reference.py``; the constraints, of which no code was released,
against the package alone.
"""

from __future__ import annotations

from itm_book.reference.bfan import bfan_scores, focal
from itm_book.reference.chan import chan_score, chan_scores
from itm_book.reference.constraints import ccr_loss, ccs_loss
from itm_book.reference.imram import imram_scores
from itm_book.reference.pfan import pfan_features, pfan_scores
from itm_book.reference.rcar import rcar_score, rcar_scores
from itm_book.reference.scan import hinge, scan_score, scan_scores
from itm_book.reference.sgraf import saf_scores, saf_training_scores, sgr_scores

__all__ = [
    "bfan_scores",
    "ccr_loss",
    "ccs_loss",
    "chan_score",
    "chan_scores",
    "focal",
    "hinge",
    "imram_scores",
    "pfan_features",
    "pfan_scores",
    "rcar_score",
    "rcar_scores",
    "saf_scores",
    "saf_training_scores",
    "scan_score",
    "scan_scores",
    "sgr_scores",
]
