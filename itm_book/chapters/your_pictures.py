"""A folder of your own pictures, searched by sentences.

Page: "Your pictures".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from itm_book.datasets.run_features import require_same_features, run_features
from itm_book.search.sentences import require_sentence
from itm_core.data.dataset import Split
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode
from itm_core.experiments.runs import Run


def with_sentences(run: Run, split: Split, sentences: Sequence[str]) -> Split:
    """Return the split with sentences as captions, for `scores` and `pair_records`.

    Raises `InputError` when the run was trained on another backbone's features, and for a
    sentence without a word that it knows.
    """
    require_same_features(run.config, split)
    for sentence in sentences:
        require_sentence(run.vocabulary, sentence)
    return replace(split, captions=[" ".join(sentence.split()) for sentence in sentences])


def scores(run: Run, split: Split) -> np.ndarray:
    """Return the scores ``[I, C]`` of every picture with every sentence."""
    tokens = encode(split, run.vocabulary)
    return score_matrix(run.matcher(), run_features(run, split), tokens)


def unknown_words(run: Run, sentences: Sequence[str]) -> pd.DataFrame:
    """Return the words of each sentence that are not in the vocabulary.

    With word pieces (BERT) there are none.
    """
    unknown = {text: ", ".join(run.vocabulary.unknown_words(text)) or "none" for text in sentences}
    return pd.DataFrame([{"sentence": text, "unknown": unknown[text]} for text in sentences])
