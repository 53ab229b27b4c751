"""The claims of the papers: each has rows of one budget that test it, or says why none can."""

from __future__ import annotations

from itm_book.records import grids
from itm_book.tables import claims
from itm_book.tables.claim_list import CLAIMS


def test_every_pair_of_a_claim_is_in_the_grid_under_one_budget() -> None:
    grid = grids.load(claims.GRID)
    names = {*grid.rows, *grid.ensembles}
    for paper, of_paper in CLAIMS.items():
        assert [claim.number for claim in of_paper] == list(range(1, len(of_paper) + 1)), paper
        for claim in of_paper:
            assert bool(claim.pairs) != bool(claim.why)
            for row, other in claim.pairs:
                assert {row, other} <= names
                if row in grid.rows and other in grid.rows:
                    ours, theirs = (grid.rows[n].at("f8k").training for n in (row, other))
                    assert ours == theirs
