"""Tables of runs for people: means over seeds with intervals, and HTML that fits a page."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from itm_core import retrieval
from itm_core.data.precomp import Dataset, Split
from itm_core.data.vocabulary import EMPTY_WORDS
from itm_core.runs import Run


class Scored(Protocol):
    """What a row is made of: a run, or runs put together."""

    @property
    def scores(self) -> np.ndarray:
        """``[I, C]`` scores of the test split."""

    @property
    def metrics(self) -> dict[str, Any]:
        """Retrieval numbers of the test split."""

    @property
    def environment(self) -> dict[str, Any]:
        """Where and how long it was trained."""


SHOWN = {"i2t_r1": "image to text R@1", "t2i_r1": "text to image R@1", "rsum": "rSum"}


def compare(groups: Mapping[str, Sequence[Scored]]) -> pd.DataFrame:
    """Return one row for each named group of runs that differ in their seed alone.

    For every number of `SHOWN`: the mean over seeds, ``_low`` and ``_high`` (95 % bootstrap over
    test images of that mean) and ``_sd`` (spread between seeds). Also ``seeds``, ``minutes`` of
    training for one run, and ``device``.
    """
    rows = []
    for name, runs in groups.items():
        scores = [run.scores for run in runs]
        limits = retrieval.bootstrap(*scores)
        row: dict[str, object] = {"name": name, "seeds": len(runs)}
        for key in SHOWN:
            values = [run.metrics[key] for run in runs]
            row |= {
                key: np.mean(values),
                f"{key}_sd": np.std(values, ddof=1) if len(runs) > 1 else np.nan,
            }
            row[f"{key}_low"], row[f"{key}_high"] = limits[key]
        row["minutes"] = np.mean([r.environment["seconds_training"] for r in runs]) / 60
        row["device"] = runs[0].environment["device"]
        rows.append(row)
    return pd.DataFrame(rows)


def readable(table: pd.DataFrame, name: str = "variant") -> pd.DataFrame:
    """Return the table of `compare` as text: ``mean [low, high] +- spread``."""
    shown = pd.DataFrame({name: table["name"]})
    for key, title in SHOWN.items():
        shown[title] = [
            f"{r[key]:.1f} [{r[f'{key}_low']:.1f}, {r[f'{key}_high']:.1f}]{spread(r[f'{key}_sd'])}"
            for r in table.to_dict("records")
        ]
    shown["minutes"] = [f"{m:.1f}" for m in table["minutes"]]
    return shown


def spread(deviation: float) -> str:
    """Return ``± deviation``, or nothing where a single seed has none."""
    return "" if np.isnan(deviation) else f" ± {deviation:.1f}"


def dots(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return what `figures.results.intervals` draws of one number of `compare`."""
    found = table[["name"]].assign(
        value=table[key],
        low=table[f"{key}_low"],
        high=table[f"{key}_high"],
        spread=table[f"{key}_sd"],
    )
    return found.assign(group=["scan-" + name.split()[0] for name in table["name"]])


def numbers(run: Run) -> pd.DataFrame:
    """Return a run's recalls of the test split with their intervals, one row a direction."""
    rows = []
    for side, name in (("i2t", "image to text"), ("t2i", "text to image")):
        row: dict[str, object] = {"direction": name}
        for cut in retrieval.CUTS:
            low, high = run.metrics["intervals"][f"{side}_r{cut}"]
            row[f"R@{cut}"] = f"{run.metrics[f'{side}_r{cut}']:.1f} [{low:.1f}, {high:.1f}]"
        row["median rank"] = f"{run.metrics[f'{side}_median']:.0f}"
        row["mean rank"] = f"{run.metrics[f'{side}_mean']:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def facts(run: Run, data: Dataset) -> pd.DataFrame:
    """Return what a run was made of: data, model, budget, machine."""
    recipe, where = run.recipe, run.environment
    images, regions, width = data.train.regions.shape
    said = {
        "dataset": f"{data.name}: {images} / {len(data.dev.regions)} / {len(data.test.regions)} "
        f"images (train / dev / test), {regions} regions of {width}",
        "vocabulary": f"{len(data.vocabulary)} words",
        "recipe": f"{recipe.name}, seed {run.seed}",
        "matcher": ", ".join(f"{k} {v}" for k, v in vars(recipe.matcher).items()),
        "training": ", ".join(f"{k} {v}" for k, v in vars(recipe.training).items()),
        "device": f"{where['device_name']}, {where['threads']} threads",
        "minutes": f"{where['seconds_training'] / 60:.1f} of training",
        "versions": f"Python {where['python']}, torch {where['packages']['torch']}",
        "commit": where["commit"] or "not a git checkout",
    }
    return pd.DataFrame({"": said.keys(), "value": said.values()})


def best(scores: np.ndarray, count: int = 5) -> np.ndarray:
    """Return the places of the largest scores, best first."""
    return np.argsort(-scores, kind="stable")[:count]


def content_words(split: Split, caption: int, words: Sequence[str]) -> list[int]:
    """Return the places of the words worth a picture.

    Where the dataset says which tokens name an object, those; elsewhere every token of letters
    but articles, conjunctions, common prepositions and the like.
    """
    truth = split.words()
    if truth is not None:
        return [k for k, named in enumerate(truth[caption]) if named]
    return [k for k, word in enumerate(words) if word.isalpha() and word not in EMPTY_WORDS]


def controls(scores: Mapping[str, np.ndarray], chance: Mapping[str, float]) -> pd.DataFrame:
    """Return the recalls of control matchers with intervals, and chance below them."""
    rows = []
    for name, one in scores.items():
        found = retrieval.metrics(one, ties="mean").flat()
        limits = retrieval.bootstrap(one, ties="mean")
        row: dict[str, object] = {"matcher": name}
        for key in ("i2t_r1", "i2t_r10", "t2i_r1", "t2i_r10"):
            low, high = limits[key]
            row[_title(key)] = f"{found[key]:.1f} [{low:.1f}, {high:.1f}]"
        rows.append(row)
    guess: dict[str, object] = {"matcher": "chance"}
    guess |= {_title(k): f"{chance[k]:.1f}" for k in ("i2t_r1", "i2t_r10", "t2i_r1", "t2i_r10")}
    return pd.DataFrame([*rows, guess])


def _title(key: str) -> str:
    side, cut = key.split("_r")
    return f"{'image to text' if side == 'i2t' else 'text to image'} R@{cut}"


def ensemble(ones: Sequence[Run], others: Sequence[Run], names: tuple[str, str]) -> pd.DataFrame:
    """Return two groups of runs and the ensembles of their seeds, with intervals of the means."""
    both = [retrieval.ensemble([a.scores, b.scores]) for a, b in zip(ones, others, strict=True)]
    groups = {names[0]: [r.scores for r in ones], names[1]: [r.scores for r in others]}
    rows = []
    for name, scores in (groups | {f"{names[0]} + {names[1]}": both}).items():
        limits = retrieval.bootstrap(*scores)
        found = [retrieval.metrics(one).flat() for one in scores]
        row: dict[str, object] = {"model": name}
        for key, title in SHOWN.items():
            low, high = limits[key]
            row[title] = f"{np.mean([f[key] for f in found]):.1f} [{low:.1f}, {high:.1f}]"
        rows.append(row)
    return pd.DataFrame(rows)


def verdict(table: pd.DataFrame) -> Markdown:
    """Return what a comparison shows, in words made from its numbers alone.

    The best row by rSum is set against each other one; two rows are told apart only when their
    intervals do not overlap and their means lie further apart than the spread between seeds.
    """
    ordered = table.sort_values("rsum", ascending=False).to_dict("records")
    top, rest = ordered[0], ordered[1:]
    below = [row["name"] for row in rest if _apart(top, row)]
    level = [row["name"] for row in rest if not _apart(top, row)]
    said = [f"Best here is **{top['name']}** with an rSum of {top['rsum']:.1f}."]
    if level:
        said.append(f"Not told apart from it: {', '.join(level)}.")
    if below:
        said.append(f"Clearly below: {', '.join(below)}.")
    return Markdown(" ".join(said))


def _apart(top: Mapping[Hashable, float], row: Mapping[Hashable, float]) -> bool:
    spread = max(top["rsum_sd"], row["rsum_sd"])
    return row["rsum_high"] < top["rsum_low"] and top["rsum"] - row["rsum"] > spread


def quote(text: str) -> Markdown:
    """Return a caption as a quotation."""
    return Markdown(f"> {text}")


def html(table: pd.DataFrame, caption: str, *, wrap: bool = False) -> HTML:
    """Return a table with a caption, which scrolls where the page is narrow.

    ``wrap`` lets long cells take more lines, for tables of words rather than numbers.
    """
    styled = table.style.hide(axis="index").format(precision=1, na_rep="", escape="html")
    if wrap:
        styled = styled.set_properties(None, **{"white-space": "normal", "min-width": "5em"})
    body = styled.set_table_attributes('class="dataframe"').to_html()
    return HTML(
        f'<figure style="margin: 0 0 1rem"><figcaption>{escape(caption)}</figcaption>'
        f'<div style="overflow-x: auto; font-size: 0.8em">{body}</div></figure>'
    )
