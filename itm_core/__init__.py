"""Fine-grained image-text matching: models, regulators and constraints of three papers.

Every matcher here is one sentence with other words filled in: *attend* (who looks at what),
*align* (compare each query with what it saw), *aggregate* (one score per pair). The files of
this package are named after those parts; ``matchers/`` composes them as each paper does. What
works with matchers that are trained stands in folders:

==============  ========================================================================
``data``        datasets read, checked, made and downloaded
``batch``       grids of runs and shards of a gallery, as jobs of an engine
``studies``     what is measured on finished runs
``tables``      tables and sentences made from their numbers
``figures``     what is drawn from them, for pages and live
``search``      images found by sentences, up to a million
``bench``       what it costs, beside ``twins`` that compute the same plainly
``reference``   the authors' checkpoints and numbers
``book``        the notebooks run, the pages built
``commands``    the command line
==============  ========================================================================
"""

from __future__ import annotations

__version__ = "0.1.0"
