"""The comparison with CHAN's numbers can fail, and says by name what it does not compare."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from itm_book.parity import compare_file
from itm_book.parity.format import Report
from tests.places import GOLDEN

MODEL = "chan_model_gru_selfattn_vha_lse"
NAN = "chan_coding_VHACoding_SoftmaxPooling"


def report_of(name: str, folder: Path, key: str, at: tuple[int, ...], value: float) -> Report:
    """Compare a copy of a reference in which one number was set to another value."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    assert arrays[key][at] != value
    arrays[key][at] = value
    np.savez(folder / "changed.npz", **arrays)
    return compare_file(folder / "changed.npz")


@pytest.mark.parametrize(
    ("name", "key", "at"),
    [
        (MODEL, "img_emb", (0, 0, 0)),
        (MODEL, "img_emb_alone", (1, 0, 0)),
        (MODEL, "img_emb_alone", (1, 7, 0)),  # padding, which must be zero here
        (MODEL, "cap_emb", (6, 8, 0)),
        (MODEL, "coding", (0, 0, 0)),
        (MODEL, "coding", (0, 6, 8)),
        (MODEL, "best_region", (0, 0, 0)),
        (MODEL, "sims", (0, 0)),
        (MODEL, "sub_sims", (0, 0)),
        (MODEL, "loss", ()),
        (MODEL, "loss_contrastive_sum_m0.2", ()),
        (MODEL, "float64_loss_infonce_t0.01_m0", ()),
        (MODEL, "grad/img_enc.feedforward.attn.in_proj_weight", (40, 3)),
        (MODEL, "grad/txt_enc.fc.bias", (0,)),  # never used: its gradient must be zero
        ("chan_model_gru_transformer_vha_lse", "img_emb_alone", (1, 0, 0)),
        ("chan_model_gru_selfattn_tha_lse", "coding", (0, 0, 0)),
        ("chan_coding_VSACoding_LSEPooling", "grad/cap_emb", (0, 0, 0)),
        (NAN, "sims", (0, 0)),
        (NAN, "sims", (0, 1)),  # a padded pair, NaN in the release
        ("chan_losses", "grad/cosine_scale/infonce_t0.1_m0", (1, 2)),
        ("chan_losses", "float64_grad/lse_scale/infonce_t0.01_m0", (0, 0)),
        ("chan_pooling_temperatures", "lse_t0.1", (0, 0)),
        ("chan_collate", "bigru/ids", (0,)),
        ("chan_train_steps_gru", "losses", (2,)),
        ("chan_train_steps_gru", "after_step3/img_enc.fc.weight", (0, 0)),
        ("chan_train_steps_gru", "after_step3/txt_enc.fc.weight", (0, 0)),
    ],
)
def test_a_changed_number_is_found(
    tmp_path: Path, name: str, key: str, at: tuple[int, ...]
) -> None:
    report = report_of(name, tmp_path, f"outputs/{key}", at, 3.0)
    assert report.known
    assert not report.passed, report.line()
    assert "FAIL" in report.line()


def test_only_padding_excuses_nan(tmp_path: Path) -> None:
    report = report_of(NAN, tmp_path, "outputs/sims", (0, 0), math.nan)  # a pair without padding
    assert not report.passed
    assert "NaN elsewhere than in padding 1.0e+00 >" in report.line()


@pytest.mark.parametrize(
    ("name", "exempt"),
    [
        (MODEL, {"img_emb padding", "loss_infonce_t0.01_m0", "loss_infonce_t0.01_m0.05"}),
        ("chan_model_gru_selfattn_vha_lse_equal", {"loss_infonce_t0.01_m0"}),
        ("chan_model_gru_basic_vha_mean", {"img_emb padding"}),
        (NAN, {"sims"}),
        ("chan_coding_VHACoding_MeanPooling", set()),
    ],
)
def test_what_is_exempt_is_said_by_name(name: str, exempt: set[str]) -> None:
    report = compare_file(GOLDEN / f"{name}.npz")
    found = {d.name: d.exempt for d in report.differences if d.exempt}
    assert exempt <= set(found)
    assert not {n for n in found if n not in exempt and "infonce_t0.01" not in n}
    for name_, reason in found.items():
        assert f"{name_} exempt ({reason})" in report.line()


def test_an_infinite_loss_has_its_finite_twin_compared() -> None:
    compared = {d.name: d.error for d in compare_file(GOLDEN / f"{MODEL}.npz").differences}
    for name in [n for n, error in compared.items() if error == math.inf]:
        assert compared[f"float64_{name}"] < math.inf


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("train_ids", 0, "ids", 0), [1, 2]),
        (("train_ids", 3, "python_random_seed"), 1),
        (("bert", "train_ids", 2, "ids", 1), [2, 3]),
        (("bert", "eval_ids", 0), [2, 3]),
        (("eval_ids", 0), [1, 2]),
        (("tokens", 0), ["a"]),
        (("mask_index",), 3),
        (("vocab_size_with_mask",), 3),
        (("region_drop", "rate"), 0.3),
        (("vocabulary_builder", "word2idx_by_threshold", "2"), {"a": 4}),
    ],
)
def test_a_changed_token_is_found(
    tmp_path: Path, path: tuple[str | int, ...], change: object
) -> None:
    pytest.importorskip("transformers")
    content = json.loads((GOLDEN / "chan_text.json").read_text(encoding="utf-8"))
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    assert inner[path[-1]] != change
    inner[path[-1]] = change
    (tmp_path / "text.json").write_text(json.dumps(content), encoding="utf-8")
    report = compare_file(tmp_path / "text.json")
    assert report.kind == "CHAN text"
    assert not report.passed
