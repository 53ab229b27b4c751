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

import os

# Before torch loads its threads, here and in every process that is started from here: this package
# is imported before torch, by the command line, by notebooks, by tests and by workers. What the
# user has set is left. A thread that waits spins for microseconds and then sleeps: on a machine
# with other work, threads that spin for long made scoring 4 to 7 times slower, and on a quiet one
# threads that sleep at once made small training steps up to 1.9 times slower. GNU's threads read
# the count, the other OpenMP libraries the policy. An operation that Apple's GPUs lack runs on the
# CPU, and torch's warning names it. Its profiler says nothing of its start and end.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "1000",  # GNU's own where there are more threads than cores
    "PYTORCH_ENABLE_MPS_FALLBACK": "1",
    "KINETO_LOG_LEVEL": "6",
}
_policy_is_set = "OMP_WAIT_POLICY" in os.environ  # the count would replace the user's policy
for _name, _value in ENVIRONMENT.items():
    if not (_policy_is_set and _name == "GOMP_SPINCOUNT"):
        os.environ.setdefault(_name, _value)

__version__ = "0.1.0"
