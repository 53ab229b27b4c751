"""The plain lines that a chapter shows give the score of the form that trains and evaluates."""

from __future__ import annotations

from pathlib import Path

import pytest

from itm_book.pairs import method_code
from itm_book.reference.chan import chan_score, hard
from itm_book.reference.constraints import ccr_loss, ccs_loss
from itm_book.reference.rcar import rcar_score
from itm_book.reference.scan import attention, clipped_l2norm, scan_score
from itm_core.errors import InputError
from tests.scenes_pair import CAPTION, IMAGE, scenes, trained


def test_scan_in_both_directions(scenes_folder: Path) -> None:
    split = scenes(scenes_folder)
    place = split.place(IMAGE, CAPTION)
    pair = method_code.embedded_pair(trained(scenes_folder, "scan-t2i-mean"), split, IMAGE, place)
    assert abs(scan_score(pair.W, pair.V) - pair.score) < 1e-5
    pair = method_code.embedded_pair(trained(scenes_folder, "scan-i2t-mean"), split, IMAGE, place)
    assert abs(scan_score(pair.V, pair.W, temperature=4.0) - pair.score) < 1e-5
    assert abs(scan_score(pair.V, pair.W, temperature=9.0) - pair.score) > 1e-5


def test_rcar_and_chan(scenes_folder: Path) -> None:
    split = scenes(scenes_folder)
    place = split.place(IMAGE, CAPTION)
    run = trained(scenes_folder, "rcar-t2i")
    pair = method_code.embedded_pair(run, split, IMAGE, place)
    plain = rcar_score(pair.W, pair.V, *method_code.regulator_maps(run))
    assert abs(plain - pair.score) < 1e-5
    with pytest.raises(InputError, match="not a run of RCAR.*scan-t2i-mean"):
        method_code.regulator_maps(trained(scenes_folder, "scan-t2i-mean"))
    pair = method_code.embedded_pair(trained(scenes_folder, "chan"), split, IMAGE, place)
    assert abs(chan_score(pair.W, pair.V) - pair.score) < 1e-4  # of a score of about ten


def test_the_constraints(scenes_folder: Path) -> None:
    split = scenes(scenes_folder)
    given = trained(scenes_folder, "scan-t2i-mean"), split, IMAGE, split.place(IMAGE, CAPTION)
    pairs = method_code.constrained_pairs(*given)
    ccr, ccs = method_code.fast_constraints(*given)
    assert abs(sum(ccr_loss(p.query, p.keys, p.A) for p in pairs) - ccr) < 1e-5
    assert abs(sum(ccs_loss(p.query, p.keys, p.A, p.swapped) for p in pairs) - ccs) < 1e-5
    assert ccr > 0
    assert ccs > 0


def test_a_method_without_attention_has_no_such_code(scenes_folder: Path) -> None:
    run = trained(scenes_folder, "vse-mean")
    with pytest.raises(InputError, match="not a method that attends"):
        method_code.embedded_pair(run, scenes(scenes_folder), IMAGE, 0)


def test_source_is_what_runs() -> None:
    page = method_code.source(scan_score, attention, clipped_l2norm, hard).data
    assert page.startswith("```python\ndef scan_score(")
    assert page.endswith("\n```")
    assert page.count("\ndef ") == 4
    assert "relevance = cosine(query, attended)  # [L]" in page
