"""Tables of margins, types of errors, joint failures and ensembles of two methods.

Page: "Similarity distributions".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from IPython.display import HTML

from itm_book.chapters.similarity_distributions.measures import (
    RANDOM_PAIRS,
    query_scores,
    standardised_queries,
)
from itm_book.scenes.errors import pair_error_types
from itm_book.tables import sentences
from itm_core.data.dataset import Split
from itm_core.evaluation.statistics import spearman
from itm_core.experiments.runs import Run


def margin_table(runs: Mapping[str, Run], direction: str) -> pd.DataFrame:
    """Return the distribution of the margins of every run, in percent of the queries.

    *R@1* is read from the run's record; *failed* is counted from its scores. *0 < margin <
    training margin* is in the method's own scores, and empty for a loss other than the hinge.
    """
    rows = []
    for name, run in runs.items():
        queries = query_scores(run.scores, run.caption_image)[direction]
        margin = standardised_queries(run.scores, run.caption_image)[direction].margin
        loss, row = run.recipe.loss, {"method": name}
        hinge = loss.kind == "hinge"
        within = ~queries.failed & (queries.margin < loss.margin)
        beyond = queries.margin >= loss.margin
        row["R@1"] = f"{run.metrics[f'{direction}_r1']:.1f}"
        row["failed (%)"] = f"{100 * queries.failed.mean():.1f}"
        row["training margin"] = f"{loss.margin:g}" if hinge else ""
        row["correct, below it (%)"] = f"{100 * within.mean():.1f}" if hinge else ""
        row["correct, above it (%)"] = f"{100 * beyond.mean():.1f}" if hinge else ""
        low, median, high = np.percentile(margin, [5, 50, 95])
        row["standardised margin"] = f"{median:+.2f} [{low:+.2f}, {high:+.2f}]"
        rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["interval"] = "5 % to 95 %"
    return table


def error_type_table(types: pd.DataFrame) -> pd.DataFrame:
    """Return for each type of error its mean share over the methods, against random pairs.

    ``types`` are those of `measures.error_types`; empty where they are. *ratio* is empty for a
    type that no random pair has.
    """
    if types.empty:
        return pd.DataFrame()
    mean, chance = types.drop(index=RANDOM_PAIRS).mean(), types.loc[RANDOM_PAIRS]
    return pd.DataFrame(
        [
            {
                "type of error": name,
                "mean over methods (%)": f"{mean[name]:.1f}",
                "random negative pairs (%)": f"{chance[name]:.1f}",
                "ratio": f"{mean[name] / chance[name]:.1f}" if chance[name] > 0 else "",
            }
            for name in types.columns
        ]
    )


def joint_failure_table(panels: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the percentages of queries that no method and that all methods fail.

    ``panels`` hold `measures.joint_failures` by direction.
    """
    rows = []
    for name, table in panels.items():
        row = {"direction": name, "methods": str(len(table) - 1)}
        for title, counts in (("failed by none", table.iloc[0]), ("failed by all", table.iloc[-1])):
            row[f"{title} (%)"] = f"{counts['observed']:.1f}"
            row[f"{title}, if independent (%)"] = f"{counts['independent']:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def finding(joint: pd.DataFrame) -> HTML:
    """Return how often all methods fail on a caption, against independent failures.

    ``joint`` is `measures.joint_failures`, text to image.
    """
    count, none, every = len(joint) - 1, joint.iloc[0], joint.iloc[-1]
    alike = every["observed"] > every["independent"]
    so = "the same captions are hard for all" if alike else "methods fail on captions of their own"
    return sentences.finding(
        f"{so}: {every['observed']:.1f} % of them are failed by all "
        f"{count} methods and {none['observed']:.1f} % by none, where independent failures would "
        f"give {every['independent']:.1f} % and {none['independent']:.1f} %."
    )


def hardest_captions(runs: Mapping[str, Run], split: Split, *, count: int = 8) -> pd.DataFrame:
    """Return the captions for which most methods rank the same wrong image first.

    Ordered by the number of methods that agree on the image; of equal ones the earlier caption
    first. On Scenes with the type of error.
    """
    by_run = [query_scores(run.scores, run.caption_image)["t2i"] for run in runs.values()]
    wrong = np.where([q.failed for q in by_run], [q.hardest for q in by_run], -1)  # [N, C]
    votes = np.stack([(wrong == row).sum(0) * (row >= 0) for row in wrong])
    most, captions = votes.argmax(0), np.argsort(-votes.max(0), kind="stable")[:count]
    images = wrong[most[captions], captions]
    captions, images = captions[images >= 0], images[images >= 0]
    table = pd.DataFrame({"caption": [split.captions[c] for c in captions]})
    table["its image"] = [split.ids[i] for i in split.caption_image[captions]]
    table["wrong image"] = [split.ids[i] for i in images]
    table["methods"] = [f"{votes[most[c], c]} of {len(runs)}" for c in captions]
    types = pair_error_types(split, images, captions)
    if types is not None:
        table["type of error"] = types
    return table


def ensemble_table(pairs: pd.DataFrame, *, count: int = 6) -> pd.DataFrame:
    """Return the ``count`` best averages of `measures.ensemble_gains`."""
    rows = [
        {
            "methods": f"{row['first']} + {row['second']}",
            "rSum of each": f"{row['worse']:.1f}, {row['better']:.1f}",
            "rSum of the average": f"{row['average']:.1f}",
            "gain over the better": f"{row['gain']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]",
            "kappa of failures": f"{row['kappa']:.2f}",
            "at least one correct (%)": f"{row['either']:.1f}",
        }
        for row in pairs.nlargest(count, "average").to_dict("records")
    ]
    return pd.DataFrame(rows)


def ensemble_summary(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return one row on all pairs of `measures.ensemble_gains`.

    Rank correlations are Spearman's over pairs. Pairs share methods, so the correlations have no
    interval.
    """
    gain = pairs["gain"].to_numpy()
    gap = (pairs["better"] - pairs["worse"]).to_numpy()
    row = {
        "pairs": str(len(pairs)),
        "gain above zero (%)": f"{100 * (gain > 0).mean():.0f}",
        "interval above zero (%)": f"{100 * (pairs['low'] > 0).mean():.0f}",
        "rank correlation of gain and kappa": _signed(spearman(gain, pairs["kappa"].to_numpy())),
        "rank correlation of gain and rSum difference": _signed(spearman(gain, gap)),
        "best single rSum": f"{pairs['better'].max():.1f}",
    }
    return pd.DataFrame([row])


def _signed(correlation: float) -> str:
    return "" if np.isnan(correlation) else f"{correlation:+.2f}"
