"""What is raced is the same thing: ours and the twin score alike, at any size."""

from __future__ import annotations

import pytest
import torch

from itm_book.bench.methods import METHODS, build, draw, score, weights_of_twin
from itm_book.parity.format import read
from itm_book.parity.names import our_name, their_name
from tests.itm_book.reference.test_reference import GOLDEN

FILES = {"SAF": "sgraf_saf.npz", "SGR": "sgraf_sgr.npz", "RCAR-2 t2i": "rcar_t2i_rcar2.npz"}


@pytest.mark.parametrize("name", METHODS)
def test_ours_and_the_twin_score_alike(name: str) -> None:
    torch.manual_seed(0)
    given, method = draw(3, 5, 32), METHODS[name]
    matcher = build(method, 32, 8)
    with torch.no_grad():
        ours = score(matcher, given)
        lens = given.lens.tolist()
        theirs = method.twin(given.regions, given.words, lens, weights_of_twin(matcher, method))
    # BFAN's gate is a step: a weight on its threshold falls on either side by rounding
    torch.testing.assert_close(ours, theirs, atol=1e-3 if name == "BFAN" else 2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_names_go_back_to_the_release(name: str) -> None:
    method = METHODS[name]
    theirs = {key for key in read(GOLDEN / FILES[name]).folder("weights") if "sim_enc" in key}
    theirs = {key for key in theirs if not key.endswith("num_batches_tracked")}
    parts = ("directions.", "regions.pooling", "words.pooling")
    ours = [key for key in build(method, 16, 8).state_dict() if key.startswith(parts)]
    back = {their_name(key, method.family) for key in ours if "num_batches" not in key}
    assert theirs == back
    assert all(our_name(their_name(key, method.family), method.family) in (key, "") for key in ours)
