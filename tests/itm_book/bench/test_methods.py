"""The timed methods: ours and the naive reference give the same scores, at any size."""

from __future__ import annotations

import pytest
import torch

from itm_book.bench.methods import METHODS, build, random_embeddings, reference_weights, score
from itm_book.checkpoints.authors_names import our_name, their_name
from itm_book.parity.format import read
from tests.itm_book.reference.test_reference import GOLDEN

FILES = {"SAF": "sgraf_saf.npz", "SGR": "sgraf_sgr.npz", "RCAR-2 t2i": "rcar_t2i_rcar2.npz"}


@pytest.mark.parametrize("name", METHODS)
def test_ours_and_the_reference_score_alike(name: str) -> None:
    torch.manual_seed(0)
    inputs, method = random_embeddings(3, 5, 32), METHODS[name]
    matcher = build(method, 32, 8)
    with torch.no_grad():
        ours = score(matcher, inputs)
        weights = reference_weights(matcher, method)
        theirs = method.reference(inputs.regions, inputs.words, inputs.lens.tolist(), weights)
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
