"""Scores and numbers of a matcher on the development and test splits of a prepared dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from itm_core.evaluation import retrieval
from itm_core.evaluation.attention_quality import attention_quality
from itm_core.evaluation.scoring import Captions, score_matrix
from itm_core.experiments.prepare import PreparedSplit
from itm_core.experiments.run import COMPLETE, SCORES
from itm_core.files import whole_file, write_json
from itm_core.models import Matcher


def dev_scorer(dev: PreparedSplit, limit: int | None) -> Callable[[Matcher], dict[str, float]]:
    """Return the function that computes the retrieval numbers of a matcher after each epoch.

    ``limit`` is the largest number of development images used; ``None`` takes all.
    """
    images = min(len(dev.split.regions), limit or len(dev.split.regions))
    features = dev.features[:images]
    captions = Captions.of(dev.tokens[: images * dev.split.captions_per_image])

    def score(matcher: Matcher) -> dict[str, float]:
        return retrieval.metrics(score_matrix(matcher, features, captions)).flat()

    return score


def write_test_scores(
    folder: Path, matcher: Matcher, test: PreparedSplit, *, progress: bool
) -> None:
    """Write the score matrix ``[I, C]`` of the test split to a run's folder."""
    scores = score_matrix(matcher, test.features, test.tokens, progress=progress)
    with whole_file(folder / SCORES) as partial, partial.open("wb") as file:
        np.save(file, scores)


def write_metrics(folder: Path, matcher: Matcher, test: PreparedSplit) -> None:
    """Write the numbers of the test split to a run's folder, the last of its files.

    Attention quality is measured where the split knows what its words name.
    """
    metrics = retrieval.report(np.load(folder / SCORES))
    qualities = attention_quality(
        matcher, test.split, test.tokens, test.features, word_rows=test.word_rows
    )
    for direction, quality in qualities.items():
        metrics |= quality.flat(f"{direction}_attention")
    write_json(folder / COMPLETE, metrics)
    (folder / "state.pt").unlink(missing_ok=True)
