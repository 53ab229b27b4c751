"""Fine-grained image-text matching: models, regulators and constraints of three papers.

A matcher *attends* (cross-attention between regions and words), *aligns* (compares each query
with its attended context) and *aggregates* (one score per image-caption pair).

===============  ===============================================================================
``models``       attention, alignment, aggregation, and the matchers composed of them
``encoders``     regions and captions as vectors
``regulators``   RCR, RAR, RCAR: feedback from the alignments to the attention
``constraints``  CCR, CCS: contrastive constraints on the attention
``training``     losses, gradients, the training loop, several processes
``evaluation``   score matrices, retrieval numbers, statistics, attention quality
``data``         datasets in the SCAN layout, vocabularies
``experiments``  recipes, and the store of finished runs
===============  ===============================================================================
"""

from __future__ import annotations

__version__ = "0.1.0"
