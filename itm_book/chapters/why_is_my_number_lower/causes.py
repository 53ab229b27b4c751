"""Causes of a lower number: seeds, tokenisation, evaluation, choice of the epoch.

Each cause that needs no training is measured here on finished runs; its cost is a row of
`tables.score_differences`. Causes in the training are rows of the grid ``lower``.

Page: "Why is my number lower?".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np
import pandas as pd
import torch
from nltk.tokenize import NLTKWordTokenizer
from scipy.stats import norm

from itm_book.chapters.why_is_my_number_lower.tables import COLUMNS, score_differences
from itm_book.datasets.run_features import run_features
from itm_book.records.results import Result, Results
from itm_core.data.dataset import Dataset, Split
from itm_core.data.vocabulary import END, SPECIAL, START, UNKNOWN, Vocabulary, tokenise
from itm_core.environment import pick_device
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_matrix
from itm_core.evaluation.statistics import sd
from itm_core.experiments.evaluate import dev_scorer
from itm_core.experiments.prepare import build, encode, load_word_vectors, prepare
from itm_core.experiments.runs import Run
from itm_core.files import whole_file
from itm_core.models import Matcher
from itm_core.training.trainer import Trainer

FOLDS = 5

Rewrite = Callable[[Vocabulary, str], list[int]]  # a caption to token ids


# --- seeds -------------------------------------------------------------------------------------

# Ten seeds each on Flickr30K: mean and standard deviation of rSum, computed from the tables "with
# Different Random Seeds" of github.com/WangFei-2019/Image-text-Retrieval (Rao et al., SIGIR 2022).
TEN_SEEDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "VSE++, Flickr30K": (366.6, 2.7),
        "SCAN i-t AVG, Flickr30K": (447.4, 2.1),
        "VSRN, Flickr30K": (459.6, 5.4),
        "SGRAF-SGR, Flickr30K": (489.3, 4.9),
    }
)


def expected_best(count: int) -> float:
    """Return the expected maximum of ``count`` standard normal draws.

    >>> round(expected_best(2), 3)  # 1 / sqrt(pi)
    0.564
    """
    return float(norm.expect(lambda x: x * count * norm.cdf(x) ** (count - 1)))


def pooled_spread(results: Results) -> float:
    """Return the standard deviation of rSum between seeds, pooled over rows; NaN without two."""
    rsums = [[r.metrics["rsum"] for r in group] for group in results.values() if len(group) > 1]
    freedom = sum(len(values) - 1 for values in rsums)
    total = sum(sd(values) ** 2 * (len(values) - 1) for values in rsums)
    return math.sqrt(total / freedom) if freedom else math.nan


def best_of(
    single: Mapping[str, Sequence[Result]], pooled: Results, counts: Sequence[int] = (3, 5, 10)
) -> pd.DataFrame:
    """Return how far the best seed lies above the mean, here and in print (`TEN_SEEDS`).

    ``single`` are methods with a row each, ``pooled`` methods whose spread is pooled in one row.
    """
    rows = []
    for name, group in single.items():
        values = [result.metrics["rsum"] for result in group]
        mean = float(np.mean(values))
        rows.append((f"{name}, {group[0].dataset}", str(len(values)), mean, sd(values)))
    first = next(iter(pooled.values()))[0].dataset
    several = sum(len(group) > 1 for group in pooled.values())
    rows.append((f"{several} methods pooled, {first}", "", math.nan, pooled_spread(pooled)))
    rows += [(name, "10", mean, spread) for name, (mean, spread) in TEN_SEEDS.items()]
    table = pd.DataFrame(rows, columns=["method", "seeds", "mean rSum", "SD"])
    for count in counts:
        table[f"best of {count}, above the mean"] = expected_best(count) * table["SD"]
    return table


def mean_for_best(name: str, group: Sequence[Result]) -> pd.DataFrame:
    """Return the mean over seeds minus the best of them; nothing for a single seed."""
    if len(group) < 2:
        return pd.DataFrame(columns=COLUMNS)
    best = max(group, key=lambda result: result.metrics["rsum"])
    pair = (np.mean([result.hits for result in group], axis=0), best.hits)
    against = f"the best of {len(group)} seeds"
    table = score_differences(
        {name: [pair]},
        against=against, group="seed", on=best.dataset,
        runs=[result.run for result in group],
    )  # fmt: skip
    return table.assign(seeds=len(group))


# --- words -------------------------------------------------------------------------------------


def _ids(vocabulary: Vocabulary, tokens: Sequence[str], *, ends: bool = True) -> list[int]:
    ids = vocabulary.ids
    token_ids = [ids.get(token, ids[UNKNOWN]) for token in tokens]
    return [ids[START], *token_ids, ids[END]] if ends or not token_ids else token_ids


def _capitals(vocabulary: Vocabulary, caption: str) -> list[int]:
    return _ids(vocabulary, NLTKWordTokenizer().tokenize(caption))


def _no_punctuation(vocabulary: Vocabulary, caption: str) -> list[int]:
    return _ids(vocabulary, [t for t in tokenise(caption) if any(c.isalnum() for c in t)])


def _split_at_spaces(vocabulary: Vocabulary, caption: str) -> list[int]:
    """Return ids of words split at spaces, with punctuation attached to the word before it."""
    tokens: list[str] = []
    for token in tokenise(caption):
        if tokens and not any(c.isalnum() for c in token):
            tokens[-1] += token
        else:
            tokens.append(token)
    return _ids(vocabulary, tokens)


def _no_ends(vocabulary: Vocabulary, caption: str) -> list[int]:
    return _ids(vocabulary, tokenise(caption), ends=False)


def _shifted(vocabulary: Vocabulary, caption: str) -> list[int]:
    """Return the ids of a vocabulary with one more word before all others."""
    last = len(vocabulary) - 1
    return [i if i < len(SPECIAL) else min(i + 1, last) for i in vocabulary.encode(caption)]


REWRITES: Mapping[str, Rewrite] = MappingProxyType(
    {
        "punctuation dropped": _no_punctuation,
        "split at spaces": _split_at_spaces,
        "capitals kept": _capitals,
        "no <start> and <end>": _no_ends,
        "another vocabulary": _shifted,
    }
)


def scored(
    run: Run,
    split: Split,
    rewrite: Rewrite | None = None,
    *,
    precision: str = "float32",
    device: str = "cpu",
) -> np.ndarray:
    """Return scores ``[I, C]`` of a run on a split, with rewritten captions or in a precision.

    Raises `InputError` for a ``rewrite`` with a run that uses word pieces (BERT).
    """
    vocabulary = run.vocabulary
    if rewrite is None:
        captions = encode(split, vocabulary)
    elif isinstance(vocabulary, Vocabulary):
        captions = [rewrite(vocabulary, caption) for caption in split.captions]
    else:
        raise InputError("captions in word pieces cannot be rewritten", found=run.recipe.name)
    features = run_features(run, split)
    return score_matrix(run.matcher(device), features, captions, precision=precision)


def tokenisers(runs: Sequence[Run], split: Split, *, device: str = "cpu") -> pd.DataFrame:
    """Return the effect of tokenising differently than in training, for each of `REWRITES`.

    Columns: `COLUMNS` and ``unknown words (%)``, of all tokens without start and end.
    """
    trained = [retrieval.hits(run.scores, run.caption_image) for run in runs]
    pairs = {}
    for name, rewrite in REWRITES.items():
        rewritten = [
            retrieval.hits(scored(run, split, rewrite, device=device), split.caption_image)
            for run in runs
        ]
        pairs[name] = list(zip(rewritten, trained, strict=True))
    dataset, places = runs[0].config["dataset"], [run.place for run in runs]
    table = score_differences(
        pairs, against="as in training", group="tokeniser", on=dataset, runs=places
    )
    unknown = [_unknown(runs[0].vocabulary, split, rewrite) for rewrite in REWRITES.values()]
    return table.assign(**{"unknown words (%)": unknown})


def _unknown(vocabulary: object, split: Split, rewrite: Rewrite) -> float:
    assert isinstance(vocabulary, Vocabulary)  # `scored` refuses others
    ids = [i for caption in split.captions for i in rewrite(vocabulary, caption)]
    ends = {vocabulary.ids[START], vocabulary.ids[END]}
    inner = [i for i in ids if i not in ends]
    return 100.0 * inner.count(vocabulary.ids[UNKNOWN]) / len(inner)


# --- evaluation --------------------------------------------------------------------------------


def half_precision(runs: Sequence[Run], split: Split, *, device: str = "cpu") -> pd.DataFrame:
    """Return the effect of evaluating in bfloat16: `COLUMNS`, changed ranks, and ties.

    ``ranks moved (%)``: queries whose relevant item has another rank. ``tied queries (%)``:
    queries with a wrong item that scores the same as the relevant one.
    """
    scores = [(scored(run, split, precision="bfloat16", device=device), run.scores) for run in runs]
    images = split.caption_image
    pairs = [(retrieval.hits(half, images), retrieval.hits(full, images)) for half, full in scores]
    table = score_differences(
        {"evaluated in bfloat16": pairs},
        against="float32", group="precision", on=runs[0].config["dataset"],
        runs=[run.place for run in runs],
    )  # fmt: skip
    return table.assign(
        **{
            "ranks moved (%)": np.mean([moved(half, full, images) for half, full in scores]),
            "tied queries (%)": np.mean([tied(half, images) for half, _ in scores]),
        }
    )


def moved(ours: np.ndarray, theirs: np.ndarray, caption_image: np.ndarray | None = None) -> float:
    """Return the percentage of queries of both directions whose rank differs; ``[I, C]`` each."""
    return _differing(*(retrieval.ranks(scores, caption_image) for scores in (ours, theirs)))


def tied(scores: np.ndarray, caption_image: np.ndarray | None = None) -> float:
    """Return the percentage of queries with a wrong item that ties with the best relevant one."""
    late, early = (
        retrieval.ranks(scores, caption_image, ties=t) for t in ("pessimistic", "optimistic")
    )
    return _differing(late, early)


def _differing(ours: retrieval.Ranks, theirs: retrieval.Ranks) -> float:
    differ = np.concatenate([ours.i2t != theirs.i2t, ours.t2i != theirs.t2i])
    return 100.0 * float(differ.mean())


def fold_hits(
    scores: np.ndarray, caption_image: np.ndarray | None = None, folds: int = FOLDS
) -> np.ndarray:
    """Return hits ``[I, 7]`` with each fold of the images as its own gallery; ``scores [I, C]``.

    Their mean is `retrieval.five_folds`. Raises `InputError` when the images do not divide.
    """
    parts = retrieval.fold_parts(scores, caption_image, folds)
    return np.concatenate([retrieval.hits(*part) for part in parts])


def galleries(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the whole test set as one gallery minus the mean of its five folds."""
    pairs = [
        (
            retrieval.hits(run.scores, run.caption_image),
            fold_hits(run.scores, run.caption_image),
        )
        for run in runs
    ]
    return score_differences(
        {"whole test set": pairs},
        against="five folds", group="gallery", on=runs[0].config["dataset"],
        runs=[run.place for run in runs],
    )  # fmt: skip


def fold_table(
    scores: np.ndarray, caption_image: np.ndarray | None = None, folds: int = FOLDS
) -> pd.DataFrame:
    """Return what can be printed of one score matrix: all images, folds, and as released.

    The last row is the line "rsum" that SCAN's release prints for folds: six times the mean
    image-to-text recall (SCAN evaluation.py, ``mean_metrics[10] * 6``).
    """
    parts = [
        retrieval.metrics(*part) for part in retrieval.fold_parts(scores, caption_image, folds)
    ]
    mean = retrieval.five_folds(scores, caption_image, folds=folds)
    size = len(scores) // folds
    ordered = sorted(parts, key=lambda part: part.rsum)
    metrics = {
        f"whole test set, {len(scores)} images": retrieval.metrics(scores, caption_image),
        f"mean of {folds} folds of {size}": mean,
        "best fold": ordered[-1],
        "worst fold": ordered[0],
    }
    rows = [(name, m.i2t.r1, m.t2i.r1, m.rsum) for name, m in metrics.items()]
    printed = 2.0 * sum(mean.i2t.values()[:3])
    rows.append(('"rsum" as the release prints it', mean.i2t.r1, mean.t2i.r1, printed))
    return pd.DataFrame(rows, columns=["gallery", "image to text R@1", "text to image R@1", "rSum"])


# --- epochs ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Epochs:
    """Evaluations after every epoch: ``dev [E]`` rSum, ``hits [E, I, 7]`` on the test split."""

    dev: np.ndarray
    hits: np.ndarray

    @property
    def test(self) -> np.ndarray:
        """``[E]`` rSum of the test split after each epoch."""
        return self.hits[..., -1].mean(1)

    def table(self) -> pd.DataFrame:
        """Return both numbers of every epoch, and which epoch each split would choose."""
        best = {"dev": int(self.dev.argmax()), "test": int(self.test.argmax())}
        epochs = range(len(self.dev))
        marks = [" and ".join(name for name, at in best.items() if at == e) for e in epochs]
        columns = {"rSum, development": self.dev, "rSum, test": self.test, "chosen on": marks}
        return pd.DataFrame({"epoch": [str(e + 1) for e in epochs], **columns})


def by_epoch(run: Run, data: Dataset, *, device: str = "cpu") -> Epochs:
    """Return a run's numbers after every epoch; trains it again with the same recipe and seed.

    On a CPU this gives the same weights. Cached in the run's folder as ``epochs.npz``.
    """
    path = run.folder / "epochs.npz"
    if not path.exists():
        dev, hits = _train_again(run, data, pick_device(device))
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, dev=dev, hits=hits.astype(np.float32))
    with np.load(path) as cached:
        return Epochs(cached["dev"], cached["hits"].astype(float))


def _train_again(run: Run, data: Dataset, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    recipe, test_hits = run.recipe, []
    prepared = prepare(data, recipe)
    score_dev = dev_scorer(prepared.dev, recipe.training.dev_images)

    def both(matcher: Matcher) -> dict[str, float]:
        scores = score_matrix(matcher, prepared.test.features, prepared.test.tokens)
        test_hits.append(retrieval.hits(scores, data.test.caption_image))
        return score_dev(matcher)

    pairs = prepared.training_pairs(recipe.training.train_images)
    torch.manual_seed(run.seed)  # as a run does, so that it starts from the same weights
    matcher = build(recipe, run.config, run.vocabulary).to(device)
    load_word_vectors(matcher, recipe, run.vocabulary)
    with TemporaryDirectory() as folder:
        curve = Trainer(
            matcher, pairs, recipe, seed=run.seed, folder=Path(folder),
            score_dev=both, save=lambda _, path: path.touch(), progress=False,  # no weights
        ).run().curve  # fmt: skip
    return np.array([row["rsum"] for row in curve]), np.array(test_hits)


def epoch_choice(epochs: Sequence[Epochs], runs: Sequence[Run]) -> pd.DataFrame:
    """Return the epoch chosen on the development split minus the one chosen on the test split."""
    pairs = [(epoch.hits[epoch.dev.argmax()], epoch.hits[epoch.test.argmax()]) for epoch in epochs]
    name, against = "epoch chosen on dev", "epoch chosen on test"
    dataset, places = runs[0].config["dataset"], [run.place for run in runs]
    return score_differences({name: pairs}, against=against, group="epoch", on=dataset, runs=places)
