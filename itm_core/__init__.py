"""Fine-grained image-text matching: models, regulators and constraints of three papers.

Every matcher here is one sentence with other words filled in: *attend* (who looks at what),
*align* (compare each query with what it saw), *aggregate* (one score per pair). The files of
this package are named after those parts; ``matchers/`` composes them as each paper does.
"""

from __future__ import annotations

__version__ = "0.1.0"
