"""Fine-grained image-text matching: models, regulators and constraints of three papers.

Every matcher has three parts: *attend* (attention weights of each query over the keys), *align*
(compare each query with its attended vector), *aggregate* (one score per pair).

=================  =====================================================================
``models``         pairings, attention, alignment, aggregation, and the matchers themselves
``encoders``       region and text encoders
``regulators``     RCR, RAR, RCAR and others, which plug into a matcher
``constraints``    CCR and CCS, terms of the training loss
``training``       losses, gradients of a batch, the training loop, several processes
``evaluation``     scoring, retrieval metrics, statistics, attention quality
``data``           datasets in the SCAN layout, vocabularies, features from disk
``experiments``    methods, recipes, runs and their store
``cli``            the command ``itm``
=================  =====================================================================

What makes the book and its experiments is the package `itm_book`.
"""

from __future__ import annotations

__version__ = "0.1.0"
