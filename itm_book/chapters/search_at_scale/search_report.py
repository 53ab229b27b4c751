"""The search in two stages as the chapter tells it: tables, and sentences made from numbers.

Page: "Search at scale".
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import Markdown

from itm_book.search.two_stage import Found
from itm_book.tables.run_links import marked

RECALL, BUDGET = 0.98, 200.0  # what is aimed at: of the exact best ten, and in milliseconds
RECALLED = "of the exact ten (percent)"
_TIMES = {
    "milliseconds": "ms, wall",
    "milliseconds_p90": "ms, wall, slowest tenth from",
    "processor_milliseconds": "ms, processors",
}


def readable(curve: pd.DataFrame) -> pd.DataFrame:
    """Return a curve of `search_curve.curve` with names and percent for people."""
    percent = {"recall": RECALLED, "worst": "worst caption (percent)"}
    shown = pd.DataFrame({"candidates": curve["candidates"]})
    for column, name in percent.items():
        shown[name] = 100 * curve[column]
    for column, name in _TIMES.items():
        shown[name] = curve[column]
    return shown


def reached(curve: pd.DataFrame, recall: float = RECALL) -> pd.DataFrame:
    """Return for each gallery the row with the fewest candidates that reach a recall.

    A gallery that does not reach it is told by its best row. Columns are those of the record, and
    ``reached``.
    """
    rows = []
    for size, group in curve.groupby("gallery"):
        searched = group[group["candidates"] < size].sort_values("candidates")
        enough = searched[searched["recall"] >= recall]
        best = enough.iloc[0] if len(enough) else searched.nlargest(1, "recall").iloc[0]
        count = {"gallery": size, "candidates": int(best["candidates"])}
        rows.append(best.to_dict() | count | {"reached": bool(len(enough))})
    return pd.DataFrame(rows)


def sizes(curve: pd.DataFrame, recall: float = RECALL) -> pd.DataFrame:
    """Return what each gallery takes to reach a recall, beside the exact ranking of it all."""
    found = reached(curve, recall)
    exact = curve[curve["candidates"] >= curve["gallery"]].set_index("gallery")
    shown = pd.DataFrame({"images": [f"{size:,}" for size in found["gallery"]]})
    shown["candidates"] = [f"{count:,}" for count in found["candidates"]]
    shown[RECALLED] = 100 * found["recall"]
    for column, name in _TIMES.items():
        shown[name] = found[column]
    for column, name in (("milliseconds", "wall"), ("processor_milliseconds", "processors")):
        shown[f"exact ranking, ms, {name}"] = exact.loc[found["gallery"], column].to_numpy()
    return marked(shown, RECALLED, found.get("commit", [None] * len(found)))


def growth(curve: pd.DataFrame, recall: float = RECALL) -> Markdown:
    """Return in words how the candidates that a recall needs grow with the gallery."""
    found = reached(curve, recall).sort_values("gallery")
    found = found[found["reached"]]
    if len(found) < 2:
        return Markdown("Fewer than two of the galleries reach the recall that is aimed at.")
    first, last = found.iloc[0], found.iloc[-1]
    return Markdown(
        f"From {first['gallery']:,.0f} to {last['gallery']:,.0f} images the gallery grows "
        f"{last['gallery'] / first['gallery']:,.0f} times, and the candidates that are enough "
        f"**{last['candidates'] / first['candidates']:,.1f} times**, from "
        f"{first['candidates']:,.0f} to {last['candidates']:,.0f}. Where they grow more slowly, it "
        "is because the best ten of more images are better, and stand out further for the first "
        "stage too."
    )


def verdict(curve: pd.DataFrame, recall: float = RECALL, budget: float = BUDGET) -> Markdown:
    """Return in words whether the largest gallery of the record reaches the target."""
    row = reached(curve, recall).sort_values("gallery").iloc[-1]
    wall, spent = row["milliseconds"], row["processor_milliseconds"]
    if not row["reached"]:
        told, why = "is missed", "no number of candidates that was tried finds enough"
    elif wall <= budget:
        told, why = "is reached", "by the clock on the wall"
    elif spent <= budget:
        told = "is missed by the clock, and within reach of a machine that is free"
        why = "the processors themselves spent less than that; others had them for the rest"
    else:
        told, why = "is missed", "too many candidates are needed"
    return Markdown(
        f"Against {row['gallery']:,.0f} images, **{row['candidates']:,.0f} candidates find "
        f"{row['recall']:.1%} of the exact best ten**, in {wall:.0f} ms on the wall (median; a "
        f"tenth of the sentences took more than {row['milliseconds_p90']:.0f} ms) and "
        f"{spent:.0f} ms of processor time. The target, {recall:.0%} within {budget:.0f} ms, "
        f"**{told}**: {why}."
    )


def hardness(share: float, curve: pd.DataFrame) -> Markdown:
    """Return in words how hard glued pictures are, here and in the record (0.5: as real ones)."""
    before = float(curve.iloc[0]["synthetic_share"])
    return Markdown(
        f"Here the glued pictures have **{share:.0%}** of the ten best places, in the record "
        f"{before:.0%}. At 50 % they would be as hard as real pictures; below, a real gallery of "
        "the same size crowds its best places somewhat more than this one, above, less."
    )


def measured(curve: pd.DataFrame) -> str:
    """Return where, when and with what a record was measured."""
    row = curve.iloc[0]
    return (
        f"{row['queries']} captions of the test split, regions in {row['kind']}; {row['run']}; "
        f"{row['machine']}, {row['threads']} threads, shared with other work; "
        f"torch {row['torch']}, FAISS {row['faiss']}, commit {row['commit']}, {row['made']}"
    )


def kinds(table: pd.DataFrame) -> pd.DataFrame:
    """Return what fewer bits lose (`search_curve.loss_of_kind`) with names for people."""
    shown = pd.DataFrame(
        {
            "images": [f"{size:,}" for size in table["gallery"]],
            "kept as": table["kind"],
            "bytes a number": table["bytes_per_value"],
            RECALLED: 100 * table["recall"],
            "best stays best (percent)": 100 * table["first"],
            "largest change of a score": [f"{x:.1e}" for x in table["largest_difference"]],
        }
    )
    return marked(shown, RECALLED, table.get("commit", [None] * len(table)))


def side_by_side(exact: Found, found: Found, real: int, caption: int = 0) -> pd.DataFrame:
    """Return the exact ranking of a caption and that of a search, rank by rank.

    ``real`` is how many images of the gallery, from the start, are whole pictures.
    """
    count = found.images.shape[1]
    shown = pd.DataFrame({"rank": np.arange(1, count + 1)})
    for name, one in (("exact", exact), ("two stages", found)):
        images = one.images[caption, :count].tolist()
        shown[f"{name}: image"] = [
            f"picture {i}" if i < real else f"glued {i - real}" for i in images
        ]
        shown[f"{name}: score"] = [f"{score:.4f}" for score in one.scores[caption, :count]]
    return shown
