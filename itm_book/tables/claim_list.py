"""The claims of the three papers, and the rows of the grid ``flickr8k`` that test them.

Page: the chapters on RCAR, CHAN and the constraints; "Real photographs".
"""

from __future__ import annotations

from dataclasses import dataclass

from itm_book.tables.labels import UNTESTABLE
from itm_book.tables.verdicts import TIMING

GAIN = "gain"  # in rSum; the other measures are of attention
OURS = "our reconstruction"

Pair = tuple[str, str]  # a row of the grid, and the row that it should be better than


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a paper: every row of some pairs is better than the other.

    Attributes:
        number: as in the chapter on the paper.
        pairs: empty where no runs can test the claim.
        measure: `GAIN`, or ``precision``, ``recall`` or ``f1`` of the attention of words.
        by_boxes: the measure against people's boxes, where it is another one.
        caveat: of ``measure``, where ``by_boxes`` is another one.
        why: why it cannot be tested, where it cannot.
        label: its verdict where it cannot be tested.
        subject: what is tested, where it is not exactly the paper's method.
    """

    number: int
    text: str
    pairs: tuple[Pair, ...] = ()
    measure: str = GAIN
    by_boxes: str = ""
    caveat: str = ""
    why: str = ""
    label: str = UNTESTABLE
    subject: str = ""


def _directions(plugin: str, other: str) -> tuple[Pair, ...]:
    return tuple((f"{plugin} {side}", f"{other} {side}") for side in ("t2i", "i2t"))


BOTH = "RCAR, both directions"
_RCAR = (
    Claim(number=1, text="RCR alone improves its host", pairs=_directions("RCR", "base")),
    Claim(number=2, text="RAR alone improves its host", pairs=_directions("RAR", "base")),
    Claim(number=3, text="both together improve the host", pairs=_directions("RCAR", "base")),
    Claim(
        number=4,
        text="both are better than each alone",
        pairs=_directions("RCAR", "RCR") + _directions("RCAR", "RAR"),
    ),
    Claim(
        number=5,
        text="two directions are better than one",
        pairs=((BOTH, "RCAR t2i"), (BOTH, "RCAR i2t")),
    ),
    Claim(
        number=6,
        text="the regulators plug into several hosts",
        pairs=(
            ("BFAN + RCR", "BFAN"),
            ("BFAN + RAR", "BFAN"),
            ("BFAN + RCAR", "BFAN"),
            ("SGR + RCR", "SGR"),
        ),
    ),
)
_CODING = tuple(
    (f"CHAN{pooling}", f"soft coding{pooling}") for pooling in ("", ", mean", ", LSE / lambda")
)
_CHAN = (
    Claim(number=1, text="hard coding is better than soft", pairs=_CODING),
    Claim(
        number=2,
        text="hard coding is faster",
        why="measured in the chapter on CHAN",
        label=TIMING,
    ),
    Claim(
        number=3,
        text="attention of hard coding is more precise",
        pairs=_CODING,
        measure="precision",
        by_boxes="pointing",  # hard attention keeps one region, which favours it in precision
        caveat="at the mean weight, which favours hard attention",
    ),
    Claim(number=4, text="more regions help steadily", why="every picture has 36 regions"),
    Claim(
        number=5,
        text="accurate on Flickr30K and MSCOCO",
        why="needs these datasets: see the published table of the chapter on CHAN",
    ),
)
_CONSTRAINED = tuple(
    (f"{host} + CCR + CCS", host) for host in ("SCAN t2i", "SCAN i2t", "BFAN", "PFAN", "SAF", "SGR")
)
_WITH_WORDS = tuple(pair for pair in _CONSTRAINED if "SCAN i2t" not in pair)  # words as queries
_CONSTRAINTS = (
    Claim(
        number=1,
        text="they improve retrieval on several hosts",
        pairs=_CONSTRAINED,
        subject=OURS,
    ),
    *(
        Claim(number=number, text=text, pairs=_WITH_WORDS, measure=measure, subject=OURS)
        for number, text, measure in (
            (2, "attention is more precise", "precision"),
            (3, "attention is more complete", "recall"),
            (4, "the F1 of attention rises", "f1"),
        )
    ),
    Claim(
        number=5,
        text="so on Flickr30K and MSCOCO",
        why="needs these datasets",
        subject=OURS,
    ),
)
CLAIMS: dict[str, tuple[Claim, ...]] = {
    "RCAR": _RCAR,
    "CHAN": _CHAN,
    "CCR and CCS": _CONSTRAINTS,
}
