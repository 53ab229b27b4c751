"""What tables of margins and errors show, in words made from their numbers alone.

Page: "Similarity distributions".
"""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import Markdown

from itm_book.chapters.similarity_distributions.margins import AT_RANDOM
from itm_core.evaluation.rank_correlation import spearman

UNKNOWN = Markdown("This dataset does not know what is in its images: lengths and overlap must do.")


def of_lacks(table: pd.DataFrame) -> Markdown:
    """Return what wrong answers lack most often, and what sets them apart from random pairs.

    ``table`` is that of `margins.lacks`; shares are means over the methods.
    """
    if table.empty:
        return UNKNOWN
    mean, chance = table.drop(index=AT_RANDOM).mean(), table.loc[AT_RANDOM]
    most = sorted(mean.items(), key=lambda one: -one[1])[:3]
    often = ", ".join(f"*{name}* ({share:.0f} %)" for name, share in most)
    lift = [(m / c, name) for name, m, c in zip(mean.index, mean, chance, strict=True) if c > 0]
    apart = ", ".join(
        f"*{name}* ({times:.1f} times as often)" for times, name in sorted(lift)[:-3:-1]
    )
    true = mean.iloc[0]
    return Markdown(
        f"On average over the methods, errors fall most often under {often}. Most over-represented "
        f"against random wrong pairs: {apart}. In {true:.0f} % of the errors the caption is true "
        f"of the winning pair as well, so that its words alone could not decide; the other "
        f"{100 - true:.0f} % are mistakes."
    )


def of_together(panels: dict[str, pd.DataFrame]) -> Markdown:
    """Return how many queries all methods fail, and how many none; of `margins.together`."""
    said = []
    for name, table in panels.items():
        last, first = table.iloc[-1], table.iloc[0]
        said.append(
            f"**{name}:** {last['found']:.1f} % of the queries are failed by all "
            f"{len(table) - 1} methods ({last['independent']:.1f} % if they failed independently), "
            f"{first['found']:.1f} % by none ({first['independent']:.1f} %)."
        )
    return Markdown(" ".join(said))


def of_pairs(pairs: pd.DataFrame) -> Markdown:
    """Return what averaging two methods is worth, and what goes with a larger gain.

    ``pairs`` are those of `margins.pairs`. Correlations are Spearman's; pairs share methods, so
    they come without an interval.
    """
    sure = (pairs["low"] > 0).mean()
    distance = pairs["better"] - (pairs["worse"])
    gain = pairs["gain"].to_numpy()
    kappa, level = (spearman(gain, other.to_numpy()) for other in (pairs["kappa"], distance))
    best = pairs.nlargest(1, "average").to_dict("records")[0]
    alone = pairs["better"].max()
    return Markdown(
        f"Of {len(pairs)} pairs, {100 * (pairs['gain'] > 0).mean():.0f} % are better than the "
        f"better of the two, {100 * sure:.0f} % with an interval above zero. Rank correlation of "
        f"the gain: {kappa:+.2f} with the agreement of the errors, {level:+.2f} with the distance "
        f"in rSum between the two. The best average is that of {escape(best['first'])} and "
        f"{escape(best['second'])} with an rSum of {best['average']:.1f}; the best single method "
        f"has {alone:.1f}."
    )
