"""Naive reference implementations: the papers' equations as loops, one caption at a time.

They share no mathematics with the package, only its validation of names; tests compare the two,
benchmarks time both. They take embedded regions ``[I, R, D]`` and words ``[C, L, D]`` and, where
a method has parameters, a dictionary of them under the names of the authors' release. Each is
checked against the authors' own numbers in ``tests/itm_book/reference/test_reference.py``.
"""

from __future__ import annotations

from itm_book.reference.bfan import bfan_scores, focal
from itm_book.reference.chan import chan_scores
from itm_book.reference.imram import imram_scores
from itm_book.reference.pfan import pfan_features, pfan_scores
from itm_book.reference.rcar import rcar_scores
from itm_book.reference.scan import hinge, scan_scores
from itm_book.reference.sgraf import saf_scores, saf_training_scores, sgr_scores

__all__ = [
    "bfan_scores",
    "chan_scores",
    "focal",
    "hinge",
    "imram_scores",
    "pfan_features",
    "pfan_scores",
    "rcar_scores",
    "saf_scores",
    "saf_training_scores",
    "scan_scores",
    "sgr_scores",
]
