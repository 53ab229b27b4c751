"""Parameters that had other names once: weights saved under these are still loaded.

The two directions stand side by side, so that a renamed parameter is one row.
"""

from __future__ import annotations

import re

# Pattern of the former name, present name; pattern of the present name, former name. The first
# row comes last on the way back; of the others, special ones stand before general ones.
RENAMED = (
    (r"^gazes\.", "directions.", r"^directions\.", "gazes."),
    (
        *(r"^(regions|words)\.whole\.whole(_norm)?\.", r"\1.pooling.pooled\2."),
        *(r"^(regions|words)\.pooling\.pooled(_norm)?\.", r"\1.whole.whole\2."),
    ),
    (
        *(r"^(regions|words)\.whole\.", r"\1.pooling."),
        *(r"^(regions|words)\.pooling\.", r"\1.whole."),
    ),
    (
        *(r"^regions\.positions\.ask\.", "regions.positions.query."),
        *(r"^regions\.positions\.query\.", "regions.positions.ask."),
    ),
    (
        *(r"^(directions\.\w+)\.(nodes|regulator)\.whole\.", r"\1.\2.pooled."),
        *(r"^(directions\.\w+)\.(nodes|regulator)\.pooled\.", r"\1.\2.whole."),
    ),
    (
        *(r"^(directions\.\w+)\.nodes\.ask\.", r"\1.nodes.query."),
        *(r"^(directions\.\w+)\.nodes\.query\.", r"\1.nodes.ask."),
    ),
    (
        *(r"^(directions\.\w+)\.nodes\.answer\.", r"\1.nodes.key."),
        *(r"^(directions\.\w+)\.nodes\.key\.", r"\1.nodes.answer."),
    ),
    (
        *(r"^(directions\.\w+)\.regulator\.score\.", r"\1.regulator.output."),
        *(r"^(directions\.\w+)\.regulator\.output\.", r"\1.regulator.score."),
    ),
)


def present_name(former: str) -> str:
    """Return the present name of a parameter.

    >>> present_name("gazes.t2i.regulator.score.weight")
    'directions.t2i.regulator.output.weight'
    """
    for pattern, replacement, _, _ in RENAMED:
        former = re.sub(pattern, replacement, former)
    return former


def former_name(present: str) -> str:
    """Return the name that a parameter had before any was renamed.

    >>> former_name("words.pooling.pooled.weight")
    'words.whole.whole.weight'
    """
    for _, _, pattern, replacement in (*RENAMED[1:], RENAMED[0]):
        present = re.sub(pattern, replacement, present)
    return present
