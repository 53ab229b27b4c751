"""The naive reference implementations against the authors' numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from itm_book import reference
from itm_book.parity.format import Stored, read
from itm_book.reference.plain import Weights, batch_norm
from itm_book.reference.sgraf import nodes, pooled_images
from tests.places import GOLDEN

LIMIT = 5e-6  # float32; the values themselves are of size one
POOLINGS = {"Mean": "mean", "LogSumExp": "LSE", "Max": "max", "Sum": "sum"}
CODINGS = {"VHACoding": "hard_word", "THACoding": "hard_region", "VSACoding": "soft_region"}
DIRECTIONS = {"text_IMRAM": ("t2i",), "image_IMRAM": ("i2t",), "full_IMRAM": ("t2i", "i2t")}
STEPS = {"only_rcr": "rcr_step", "only_rar": "rar_step", "coop_rcar": "rcar_step"}


def files(pattern: str) -> list[Path]:
    found = sorted(GOLDEN.glob(pattern))
    assert found, pattern
    return found


def fragments(stored: Stored) -> tuple[Tensor, Tensor, list[int]]:
    lens = stored.tensor("inputs/lengths").tolist()
    return stored.tensor("outputs/img_emb"), stored.tensor("outputs/cap_emb"), lens


def weights(stored: Stored) -> dict[str, Tensor]:
    return {name: torch.from_numpy(v) for name, v in stored.folder("weights").items()}


def scan(stored: Stored, c: dict[str, Any]) -> Tensor:
    return reference.scan_scores(
        *fragments(stored),
        direction=c["cross_attn"],
        normalisation=c["raw_feature_norm"],
        attention_temperature=c["lambda_softmax"],
        aggregation=POOLINGS[c["agg_func"]],
        lse_temperature=c["lambda_lse"],
    )


def bfan(stored: Stored, c: dict[str, Any]) -> Tensor:
    return reference.bfan_scores(
        *fragments(stored), gate=c["focal_type"], attention_temperature=c["lambda_softmax"]
    )


def pfan(stored: Stored, c: dict[str, Any]) -> Tensor:
    return reference.pfan_scores(
        *fragments(stored),
        direction=c["cross_attn"],
        attention_temperature=c["lambda_softmax"],
        aggregation=POOLINGS[c["agg_func"]],
        lse_temperature=c["lambda_lse"],
        bonus=c["cross_attn"] == "t2i",
    )


def sgraf(stored: Stored, c: dict[str, Any]) -> Tensor:
    if c["module_name"] == "SAF":
        return reference.saf_scores(*fragments(stored), weights(stored))
    return reference.sgr_scores(*fragments(stored), weights(stored), steps=c["sgr_step"])


def imram(stored: Stored, c: dict[str, Any]) -> Tensor:
    return reference.imram_scores(
        *fragments(stored),
        weights(stored),
        directions=DIRECTIONS[c["model_mode"]],
        steps=c["iteration_step"],
        normalise_memory=not c["no_IMRAM_norm"],
        attention_temperature=c["lambda_softmax"],
    )


def rcar(stored: Stored, c: dict[str, Any]) -> Tensor:
    mode, direction = c["self_regulator"], c["attn_type"]
    return reference.rcar_scores(
        *fragments(stored),
        weights(stored),
        mode=mode,
        steps=c[STEPS[mode]],
        direction=direction,
        attention_temperature=c[f"{direction}_smooth"],
    )


FAMILIES: dict[str, Callable[[Stored, dict[str, Any]], Tensor]] = {
    "scan_*": scan,
    "bfan_*": bfan,
    "pfan_*": pfan,
    "sgraf_*": sgraf,
    "imram_*": imram,
    "rcar_t2i_*": rcar,
    "rcar_i2t_*": rcar,
}
CASES = [
    (path, reference) for pattern, reference in FAMILIES.items() for path in files(f"{pattern}.npz")
]


@pytest.mark.parametrize(("path", "reference"), CASES, ids=[path.stem for path, _ in CASES])
def test_a_twin_has_the_scores_of_the_authors(
    path: Path, reference: Callable[[Stored, dict[str, Any]], Tensor]
) -> None:
    stored = read(path)
    scores = reference(stored, stored.config)
    assert (scores - stored.tensor("outputs/sims")).abs().max() < LIMIT


@pytest.mark.parametrize("path", files("chan_coding_*.npz"), ids=lambda p: p.stem[12:])
def test_chan_s_twin_has_the_scores_of_the_authors(path: Path) -> None:
    stored = read(path)
    c = stored.config
    regions, words = stored.tensor("inputs/img_emb"), stored.tensor("inputs/cap_emb")
    region_lens = stored.tensor("inputs/image_lengths").tolist()
    lens = stored.tensor("inputs/lengths").tolist()
    if c["coding_type"] not in CODINGS:  # SCAN's attention, left in the file
        scores = reference.scan_scores(regions, words, lens, direction="t2i")
    else:
        pooling = c["pooling_type"].removesuffix("Pooling")
        scores = reference.chan_scores(
            regions,
            region_lens,
            words,
            lens,
            coding=CODINGS[c["coding_type"]],
            pooling=pooling if pooling == "LSE" else pooling.lower(),
            coding_temperature=c["alpha"],
            pooling_temperature=c["belta"],
        )
    theirs = stored.tensor("outputs/sims")
    told = ~theirs.isnan()  # the release has no number for some padded pairs
    assert told.any()
    assert torch.isfinite(scores).all()
    assert (scores - theirs)[told].abs().max() < LIMIT


@pytest.mark.parametrize("path", files("pfan_*.npz"), ids=lambda p: p.stem)
def test_the_twin_of_positions_embeds_as_the_authors_do(path: Path) -> None:
    stored = read(path)
    images, boxes = stored.tensor("inputs/images"), stored.tensor("inputs/boxes")
    joined = reference.pfan_features(images, boxes, weights(stored), rule="released")
    fc = weights(stored)
    vectors = joined @ fc["img_enc.fc.weight"].T + fc["img_enc.fc.bias"]
    vectors = vectors / vectors.norm(dim=-1, keepdim=True)
    assert (vectors - stored.tensor("outputs/img_emb")).abs().max() < LIMIT


@pytest.mark.parametrize(
    ("gate", "given", "expected"),
    [
        ("equal", [0.5, 0.3, 0.2], [1.0, 0.0, 0.0]),  # a third is what all have on average
        ("equal", [0.4, 0.4, 0.2], [0.5, 0.5, 0.0]),
        # the sums of (w_i - w_t) sqrt(w_t) are 0.126 and -0.155: the second goes
        ("prob", [0.6, 0.4], [1.0, 0.0]),
        ("equal", [0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]),  # nothing is left: keep all
        ("prob", [1.0], [1.0]),
    ],
)
def test_hand_worked_gates(gate: str, given: list[float], expected: list[float]) -> None:
    assert reference.focal(torch.tensor(given), gate).tolist() == pytest.approx(expected)


def test_prob_keeps_less_than_equal() -> None:
    given = torch.tensor([0.44, 0.21, 0.19, 0.16, 0.0, 0.0])
    kept = {gate: int((reference.focal(given, gate) > 0).sum()) for gate in ("equal", "prob")}
    assert kept == {"equal": 3, "prob": 1}


def test_saf_in_training_moves_its_statistics_caption_by_caption() -> None:
    stored = read(GOLDEN / "sgraf_saf.npz")
    regions, words, lens = fragments(stored)
    norm = nn.BatchNorm1d(1).train()
    names = ("weight", "bias", "running_mean", "running_var")
    norm.load_state_dict(
        {name: weights(stored)[f"sim_enc.SAF_module.bn.{name}"] for name in names}, strict=False
    )
    scores, mean, var = reference.saf_training_scores(regions, words, lens, weights(stored))
    expected = _saf_by_the_library(regions, words, lens, weights(stored), norm)
    assert (scores - expected).abs().max() < LIMIT
    assert mean == pytest.approx(norm.running_mean.item(), abs=1e-6)
    assert var == pytest.approx(norm.running_var.item(), abs=1e-6)
    assert (scores - stored.tensor("outputs/sims")).abs().max() > 1e-3


def _saf_by_the_library(
    regions: Tensor, words: Tensor, lens: list[int], given: Weights, norm: nn.BatchNorm1d
) -> Tensor:
    """Return SAF's scores in training, with the batch normalisation of torch."""
    wholes = pooled_images(regions, given, training=True)
    columns = []
    for caption, length in zip(words, lens, strict=True):
        X = nodes(regions, wholes, caption[:length], given)
        raw = X @ given["sim_enc.SAF_module.attn_sim_w.weight"].T
        raw = raw + given["sim_enc.SAF_module.attn_sim_w.bias"]
        share = torch.sigmoid(norm(raw.transpose(1, 2)))[:, 0]
        pooled = nn.functional.normalize(torch.einsum("in,ink->ik", share, X), dim=1)
        logit = pooled @ given["sim_enc.sim_eval_w.weight"][0] + given["sim_enc.sim_eval_w.bias"]
        columns.append(torch.sigmoid(logit))
    return torch.stack(columns, 1).detach()


def test_images_whole_in_training_use_the_statistics_of_the_batch() -> None:
    stored = read(GOLDEN / "sgraf_saf.npz")
    name = "sim_enc.v_global_w.embedding_local.1"
    norm = nn.BatchNorm1d(36).train()
    norm.weight.data, norm.bias.data = (weights(stored)[f"{name}.{k}"] for k in ("weight", "bias"))
    x = stored.tensor("outputs/img_emb")
    ours = batch_norm(x, weights(stored), name, axis=1, training=True)
    assert (ours - norm(x)).abs().max() < LIMIT
