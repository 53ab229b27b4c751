"""Searches with the captions and the images of a split, and agreement of similar sentences.

Page: "The gallery: what is found, and why".
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import combinations

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.search.searcher import BEST, Searcher, SearchResult
from itm_book.tables import report, sentences
from itm_core.data.dataset import Split
from itm_core.evaluation.statistics import spearman


def of_captions(
    searchers: Sequence[Searcher], split: Split, images: Sequence[int]
) -> list[list[SearchResult]]:
    """Return for each image what its first caption finds, by every method."""
    texts = [split.captions[split.place(image, 0)] for image in images]
    return [[search.images_for(text) for search in searchers] for text in texts]


def finding(searchers: Sequence[Searcher], split: Split, images: Sequence[int]) -> HTML:
    """Return for how many images their first caption finds them first, by every method."""
    texts = {image: split.captions[split.place(image, 0)] for image in images}
    counts = []
    for search in searchers:
        scores = {image: search.scores_of_images(text) for image, text in texts.items()}
        first = sum((row >= row[image]).sum() == 1 for image, row in scores.items())  # not a tie
        counts.append(f"{escape(search.name)} for {first}")
    return sentences.finding(
        f"of {len(images)} sentences, the right picture is found first by "
        f"{' and by '.join(counts)}."
    )


def of_images(searchers: Sequence[Searcher], images: Sequence[int]) -> list[list[SearchResult]]:
    """Return for each image the captions that it finds, by every method."""
    return [[search.captions_for(image) for search in searchers] for image in images]


def agreement(searchers: Sequence[Searcher], sentences: Sequence[str]) -> pd.DataFrame:
    """Return the agreement of the images retrieved by pairs of sentences, a row per pair.

    Columns: ``method``, the two sentences, the number of shared images in the top `BEST`, and
    Spearman's rank correlation of all scores (empty where all scores of a sentence are equal).
    """
    rows = []
    for search in searchers:
        scores = {text: search.scores_of_images(text) for text in dict.fromkeys(sentences)}
        for (first, a), (second, b) in combinations(scores.items(), 2):
            shared = np.intersect1d(report.best(a, BEST), report.best(b, BEST))
            correlation = spearman(a, b)
            row = {"method": search.name, "first sentence": first, "second sentence": second}
            row |= {"shared": f"{len(shared)} of {min(BEST, len(a))}"}
            row |= {"rank correlation": "" if np.isnan(correlation) else f"{correlation:.3f}"}
            rows.append(row)
    table = pd.DataFrame(rows)
    return table
