"""Scores and numbers of a matcher on the development and test splits of a prepared dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from itm_core.evaluation import retrieval
from itm_core.evaluation.attention_quality import attention_quality
from itm_core.evaluation.scoring import Captions, score_matrix
from itm_core.experiments.prepare import PreparedSplit
from itm_core.experiments.run_folder import CAPTION_IMAGE, COMPLETE, SCORES, note_files
from itm_core.files import whole_file
from itm_core.json_files import json_text
from itm_core.models import Matcher


def dev_scorer(dev: PreparedSplit, limit: int | None) -> Callable[[Matcher], dict[str, float]]:
    """Return the function that computes the retrieval numbers of a matcher after each epoch.

    ``limit`` is the largest number of development images used; ``None`` takes all.
    """
    images = min(len(dev.split.regions), limit or len(dev.split.regions))
    features = dev.features[:images]
    total = dev.split.caption_total(images)
    captions, caption_image = Captions.of(dev.tokens[:total]), dev.split.caption_image[:total]

    def score(matcher: Matcher) -> dict[str, float]:
        """Return the retrieval numbers of the development split."""
        scores = score_matrix(matcher, features, captions)
        return retrieval.metrics(scores, caption_image).flat()

    return score


def write_test_scores(
    folder: Path, matcher: Matcher, test: PreparedSplit, *, progress: bool
) -> None:
    """Write the score matrix ``[I, C]`` of the test split to a run's folder.

    Beside it the image of each caption, where images differ in captions.
    """
    scores = score_matrix(matcher, test.features, test.tokens, progress=progress)
    if len(set(test.split.caption_counts.tolist())) > 1:
        with whole_file(folder / CAPTION_IMAGE) as partial, partial.open("wb") as file:
            np.save(file, test.split.caption_image)
    with whole_file(folder / SCORES) as partial, partial.open("wb") as file:
        np.save(file, scores)


def write_metrics(folder: Path, matcher: Matcher, test: PreparedSplit) -> None:
    """Write the numbers of the test split to a run's folder, and before them its note of files.

    Attention quality is measured where the split knows what its words name.
    """
    metrics = retrieval.report(np.load(folder / SCORES), test.split.caption_image)
    qualities = attention_quality(
        matcher, test.split, test.tokens, test.features, word_rows=test.word_rows
    )
    for direction, quality in qualities.items():
        metrics |= quality.flat(f"{direction}_attention")
    with whole_file(folder / COMPLETE) as partial:
        partial.write_text(json_text(metrics), encoding="utf-8")
        note_files(folder, partial)
    (folder / "state.pt").unlink(missing_ok=True)
