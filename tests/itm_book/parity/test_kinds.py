"""Files in the format of the references, with other temperatures, margins, tags and names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itm_book import reference
from itm_book.parity import compare_file
from itm_book.parity.format import read
from itm_book.reference.plain import unit
from itm_core.cli import main
from tests.itm_book.parity import plain
from tests.itm_book.parity.writing import GOLDEN, arrays_of, config_of, without, write
from tests.itm_book.reference import test_reference

MODELS = {
    "scan_t2i_lse": "SCAN",
    "scan_i2t_mean": "SCAN",
    "bfan_prob": "BFAN",
    "sgraf_sgr": "SGRAF",
    "imram_full_step3": "IMRAM",
    "pfan_i2t_lse": "PFAN",
    "vsepp_order": "VSE++",
    "vsrn_coco": "VSRN",
    "vseinf_region_bigru": "VSE-infinity",
    "rcar_t2i_rcar2": "RCAR",
    "chan_model_gru_basic_vha_mean": "CHAN",
}


def agrees(path: Path, kind: str) -> None:
    """Assert that a file is known and that all its numbers are compared and agree."""
    report = compare_file(path)
    assert (report.kind, report.verdict) == (kind, "ok"), report.line()
    assert all(d.exempt is None for d in report.differences), report.line()
    stored = read(path)
    compared = {d.name for d in report.differences}
    assert compared >= set(stored.folder("outputs"))


def fails(folder: Path, arrays: dict[str, Any], config: dict[str, Any], key: str) -> None:
    """Assert that the file fails when one entry of one array is another number."""
    value = np.array(arrays[key])
    at = (0,) * value.ndim
    value[at] += 1 if value.dtype.kind == "i" else 3e-3 * max(1.0, abs(value[at]))
    report = compare_file(write(folder, arrays | {key: value}, config))
    assert report.verdict == "FAIL", report.line()
    assert any(not d.passed for d in report.differences), report.line()


def check(folder: Path, arrays: dict[str, Any], config: dict[str, Any], kind: str) -> None:
    """Assert that the file agrees, and fails for a change in any of its numbers."""
    agrees(write(folder, arrays, config), kind)
    for key in arrays:
        if key.startswith(("outputs/", "bounds/")):
            fails(folder, arrays, config, key)


@pytest.mark.parametrize(
    "repository", [None, "SCAN", "https://example.org/somebody/fork.git", "a/CHAN/tree/main"]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_known_by_its_options_whatever_its_repository(
    tmp_path: Path, name: str, repository: str | None
) -> None:
    arrays = arrays_of(name)
    config = {k: v for k, v in config_of(arrays).items() if k not in ("repo", "case", "set")}
    report = compare_file(write(tmp_path, arrays, config | {"repo": repository}))
    assert (report.kind, report.verdict) == (MODELS[name], "ok"), report.line()


SCORED = (
    "outputs/grad",
    "outputs/loss",
    "outputs/trace",
    "outputs/square_sims",
    "outputs/float64_loss",
)
OTHER_OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("scan_t2i_lse", {"lambda_softmax": 5.5, "lambda_lse": 2.5}),
    ("scan_i2t_lse", {"lambda_softmax": 13.0, "agg_func": "Max"}),
    ("bfan_equal", {"lambda_softmax": 7.0}),
    ("pfan_t2i_lse", {"lambda_lse": 11.0}),
    ("imram_text_step3", {"iteration_step": 2, "lambda_softmax": 3.0}),
    ("rcar_t2i_rcar2", {"t2i_smooth": 4.25}),
    ("rcar_i2t_rar3", {"i2t_smooth": 6.0}),
]


@pytest.mark.parametrize(("name", "options"), OTHER_OPTIONS, ids=[n for n, _ in OTHER_OPTIONS])
def test_a_model_with_other_temperatures_is_compared(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    """Stored embeddings; scores and losses are recomputed by the naive references."""
    arrays = without(arrays_of(name), SCORED)
    config = config_of(arrays) | options | {"margin": 0.37}
    stored = read(write(tmp_path, arrays, config))
    reference = getattr(test_reference, name.split("_")[0])
    sims = reference(stored, config).double().numpy()
    assert abs(sims - arrays["outputs/sims"]).max() > 1e-4
    arrays["outputs/sims"] = sims.astype(np.float32)
    square = sims[np.ix_(*indices(arrays))]
    arrays["outputs/loss_sum"] = np.float32(plain.hinge(square, 0.37, hardest=False))
    kept = ("sims", "loss_sum", "img_emb", "cap_emb")
    check(tmp_path, {k: v for k, v in arrays.items() if used(k, kept)}, config, MODELS_OF[name])


MODELS_OF = {n: n.split("_")[0].upper() for n, _ in OTHER_OPTIONS}


def used(key: str, kept: tuple[str, ...]) -> bool:
    return not key.startswith("outputs/") or key.removeprefix("outputs/") in kept


def indices(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    if "inputs/square_captions" in arrays:
        captions = arrays["inputs/square_captions"]
        return np.arange(len(captions)), captions
    return arrays["inputs/sub_image_index"], arrays["inputs/sub_caption_index"]


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_rar_without_a_step_is_compared(tmp_path: Path, direction: str) -> None:
    arrays = without(arrays_of(f"rcar_{direction}_rar3"), (*SCORED, "weights/sim_enc.rar_modules"))
    config = config_of(arrays) | {"rar_step": 0}
    regions, words = (unit(torch.from_numpy(arrays[f"outputs/{n}_emb"])) for n in ("img", "cap"))
    sims = reference.rcar_scores(
        regions,
        words,
        arrays["inputs/lengths"].tolist(),
        {k[8:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("weights/")},
        mode="only_rar",
        steps=0,
        direction=direction,
        attention_temperature=config[f"{direction}_smooth"],
    )
    arrays["outputs/sims"] = sims.numpy()
    check(tmp_path, arrays, config, "RCAR")


def scores(n: int = 6, seed: int = 3, lift: float = 0.2) -> np.ndarray:
    made = np.random.default_rng(seed).normal(0, 0.3, (n, n)) + lift * np.eye(n)
    return made.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("temperature", ["0.07", "2.5", "3"])
@pytest.mark.parametrize("margin", ["0.13", "0"])
def test_chan_losses_of_any_temperature_and_margin(
    tmp_path: Path, temperature: str, margin: str
) -> None:
    s = scores()
    named = {f"infonce_t{temperature}_m{margin}": lambda x: info(x, temperature, margin)}
    if float(margin):
        for how in ("max", "sum"):
            named[f"contrastive_{how}_m{margin}"] = lambda x, how=how: plain.hinge(
                x, float(margin), hardest=how == "max"
            )
    arrays: dict[str, Any] = {"inputs/sims_my_own": s.astype(np.float32)}
    for name, loss in named.items():
        arrays[f"outputs/loss/my_own/{name}"] = np.float32(loss(s))
        arrays[f"outputs/grad/my_own/{name}"] = plain.slope(loss, s).astype(np.float32)
    check(tmp_path, arrays, {"repo": "somewhere"}, "CHAN losses")


def info(s: np.ndarray, temperature: str, margin: str) -> float:
    return plain.info_nce(s, float(temperature), float(margin))


def test_only_a_loss_that_overflows_may_be_infinite(tmp_path: Path) -> None:
    s = scores(lift=0.0)
    s[0, 1], s[0, 0] = 1.0, -1.0  # a gap of two: exp(2 / 0.02) is beyond float32, exp(2 / 0.05) not
    arrays = {"inputs/sims_x": s.astype(np.float32), "outputs/loss/x/contrastive_max_m0.2": 0.0}
    arrays["outputs/loss/x/contrastive_max_m0.2"] = np.float32(plain.hinge(s, 0.2, hardest=True))
    for temperature, verdict in (("0.02", "ok"), ("0.05", "FAIL")):
        over = {f"outputs/loss/x/infonce_t{temperature}_m0": np.float32(math.inf)}
        report = compare_file(write(tmp_path, arrays | over, {}))
        assert report.verdict == verdict, report.line()
        assert ("exempt (infinite" in report.line()) == (verdict == "ok")
    infinite = {"outputs/loss/x/contrastive_max_m0.2": np.float32(math.inf)}
    assert compare_file(write(tmp_path, arrays | infinite, {})).verdict == "FAIL"


@pytest.mark.parametrize("kinds", [["lse_t0.03"], ["lse_t0.7", "mean"], ["softmax_unpadded_t0.3"]])
def test_poolings_at_any_temperature(tmp_path: Path, kinds: list[str]) -> None:
    draw = np.random.default_rng(5)
    lens = np.array([4, 2, 3])
    codes = draw.uniform(-0.9, 0.9, (2, 3, 4)).astype(np.float32)  # [I, C, L]
    codes[:, np.arange(4) >= lens[:, None]] = -1
    arrays: dict[str, Any] = {"inputs/coding": codes, "inputs/lengths": lens}
    for name in kinds:
        kind, _, t = name.partition("_t")
        words = [2] * 3 if kind == "softmax_unpadded" else lens
        arrays[f"outputs/{name}"] = np.array(
            [
                [
                    plain.pooled(image[c, : words[c]].tolist(), kind.split("_")[0], float(t or 1))
                    for c in range(3)
                ]
                for image in codes.astype(float)
            ],
            np.float32,
        )
    check(tmp_path, arrays, {"softmax_words": 2}, "CHAN poolings")


@pytest.mark.parametrize("coding", ["VHACoding", "THACoding", "VSACoding"])
def test_codings_at_other_temperatures(tmp_path: Path, coding: str) -> None:
    arrays = arrays_of(f"chan_coding_{coding}_LSEPooling")
    config = config_of(arrays) | {"alpha": 0.17, "belta": 0.4, "margin": 0.11}
    sims = reference.chan_scores(
        torch.from_numpy(arrays["inputs/img_emb"]),
        arrays["inputs/image_lengths"].tolist(),
        torch.from_numpy(arrays["inputs/cap_emb"]),
        arrays["inputs/lengths"].tolist(),
        coding=test_reference.CODINGS[coding],
        pooling="LSE",
        coding_temperature=0.17,
        pooling_temperature=0.4,
    ).numpy()
    square = sims[np.ix_(*indices(arrays))].astype(float)
    made = without(arrays, ("outputs/", "config"))
    made |= {
        "outputs/sims": sims,
        "outputs/loss": np.float32(plain.hinge(square, 0.11, hardest=True)),
        "outputs/loss_infonce_t0.3_m0.02": np.float32(plain.info_nce(square, 0.3, 0.02)),
    }
    check(tmp_path, made, config, "CHAN coding")


def test_numbered_losses_of_any_count_and_margin(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    margins = [0.11, 0.6, 0.3]
    for number in (1, 2):  # the first case is left out
        s, margin = scores(5, seed=number), margins[number]
        arrays[f"inputs/sims{number}"] = s.astype(np.float32)
        for kind, hard in (("sum", False), ("hard", True)):

            def loss(x: np.ndarray, hard: bool = hard, margin: float = margin) -> float:
                return plain.hinge(x, margin, hardest=hard)

            arrays[f"outputs/loss_{kind}{number}"] = np.float32(loss(s))
            arrays[f"outputs/grad_{kind}{number}"] = plain.slope(loss, s).astype(np.float32)
    check(tmp_path, arrays, {"cases": [{"margin": m} for m in margins]}, "loss")


def test_the_hinge_loss_with_any_margin_in_its_name(tmp_path: Path) -> None:
    s = scores(7)
    arrays: dict[str, Any] = {"inputs/scores": s.astype(np.float32)}
    for kind, hard in (("max", True), ("sum", False)):
        arrays[f"outputs/loss_{kind}_margin0p33"] = np.float32(plain.hinge(s, 0.33, hardest=hard))
        grad = plain.slope(lambda x, hard=hard: plain.hinge(x, 0.33, hardest=hard), s)
        arrays[f"outputs/grad_scores_{kind}_margin0p33"] = grad.astype(np.float32)
    check(tmp_path, arrays, {}, "loss")


def matrix(images: int, per_image: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    made = draw.permutation(images * images * per_image).reshape(images, -1) / 100
    return made.astype(np.float64)


@pytest.mark.parametrize("per_image", [5, 3])
def test_evaluations_under_any_tag(tmp_path: Path, per_image: int) -> None:
    arrays: dict[str, Any] = {}
    for seed, tag in enumerate(("odd_one", "7")):
        arrays[f"inputs/sims_{tag}"] = matrix(12, per_image, seed)
        made = plain.evaluated(arrays[f"inputs/sims_{tag}"])
        arrays |= {f"outputs/{what}_{tag}": value for what, value in made.items()}
    check(tmp_path, arrays, {}, "evaluation")
    fewer = without(arrays, ("outputs/rsum", "outputs/i2t_top1", "inputs/sims_7", "outputs/t2i_7"))
    fewer = {k: v for k, v in fewer.items() if not k.endswith("_7")}
    agrees(write(tmp_path, fewer, {}), "evaluation")


def test_an_evaluation_of_one_matrix_with_three_captions_an_image(tmp_path: Path) -> None:
    sims = matrix(9, 3, seed=2)
    made = {f"outputs/{k}": v for k, v in plain.evaluated(sims).items() if k != "rsum"}
    check(tmp_path, {"inputs/sims": sims, **made}, {}, "evaluation")


def test_a_first_hit_among_ties_has_the_best_score(tmp_path: Path) -> None:
    sims = np.array([[3, 1, 3], [0, 2, 2], [0, 1, 0]], float)  # one caption an image
    made = {"outputs/i2t_ranks": np.array([0, 0, 2])}
    for hits, verdict in (([0, 2, 1], "ok"), ([2, 1, 1], "ok"), ([1, 1, 1], "FAIL")):
        first = {"outputs/i2t_top1": np.array(hits)}
        report = compare_file(write(tmp_path, {"inputs/sims": sims, **made, **first}, {}))
        assert report.verdict == verdict, report.line()


def test_numbers_among_ties_are_those_of_the_stored_ranks(tmp_path: Path) -> None:
    arrays = arrays_of("eval_ties_all_equal")  # any recall from 0 to 100 is possible here
    assert compare_file(write(tmp_path, arrays)).passed
    for key in ("outputs/i2t@avx2", "outputs/t2i_ranks@avx512"):
        value = arrays[key].copy()
        value[3] += 1
        report = compare_file(write(tmp_path, arrays | {key: value}))
        assert report.verdict == "FAIL", key


def test_columns_beyond_the_longest_are_compared_too(tmp_path: Path) -> None:
    arrays = arrays_of("chan_model_gru_selfattn_tha_lse")
    for name, fill in (("img_emb_alone", 0.0), ("cap_emb", 0.0), ("coding", -1.0)):
        key = f"outputs/{name}"
        axis = 2 if name == "coding" else 1
        surplus = np.full_like(arrays[key].take([0], axis), fill)
        wider = arrays | {key: np.concatenate([arrays[key], surplus], axis)}
        assert compare_file(write(tmp_path, wider)).passed
        wider[key] = np.concatenate([arrays[key], surplus + 0.5], axis)
        assert compare_file(write(tmp_path, wider)).verdict == "FAIL", name


def test_two_models_under_any_names_in_any_number_of_folds(tmp_path: Path) -> None:
    one, other = matrix(12, 5, 3), matrix(12, 5, 4)
    mean = (one + 1.01 * other) / 2  # no ties
    arrays: dict[str, Any] = {"inputs/sims_left": one, "inputs/sims_right": 1.01 * other}
    for tag, sims in (("left", one), ("right", 1.01 * other), ("ensemble", mean)):
        made = plain.evaluated(sims)
        arrays |= {f"outputs/{tag}/{what}": made[what] for what in made if what != "rsum"}
    arrays["outputs/ensemble/sims"] = mean
    folds = [plain.evaluated(mean[k : k + 4, 5 * k : 5 * k + 20]) for k in (0, 4, 8)]
    arrays["outputs/ensemble/fold3"] = np.stack([np.r_[f["i2t"], f["t2i"]] for f in folds])
    check(tmp_path, arrays, {}, "evaluation")


def test_an_ensemble_in_any_number_of_folds(tmp_path: Path) -> None:
    one, other = matrix(8, 5, 5), 1.01 * matrix(8, 5, 6)
    mean = (one + other) / 2
    parts = [plain.evaluated(mean[k : k + 4, 5 * k : 5 * k + 20]) for k in (0, 4)]
    folds = np.stack([np.r_[f["i2t"], f["t2i"]] for f in parts])
    arrays = {
        "inputs/sims_x": one,
        "inputs/sims_y": other,
        "outputs/folds": folds,
        "outputs/fold_mean": folds.mean(0),
    }
    check(tmp_path, arrays, {}, "evaluation")


def test_tokens_without_one_answer_do_not_pass(tmp_path: Path) -> None:
    config = {"captions": ["a dog"], "vocab_subset": {"a": 4, "dog": 5}}
    special = {"special": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3}}
    arrays: dict[str, Any] = {
        "outputs/ids@nltk9": np.array([[1, 4, 5, 2]]),
        "outputs/lengths@nltk9": np.array([4]),
    }
    agrees(write(tmp_path, arrays, config | special), "tokens")
    wrong = arrays | {"outputs/ids@nltk9": np.array([[1, 4, 3, 2]])}
    assert compare_file(write(tmp_path, wrong, config | special)).verdict == "FAIL"
    unsure = wrong | {"outputs/independent_of_nltk_version": np.array([False])}
    report = compare_file(write(tmp_path, unsure, config | special))
    assert report.verdict == "FAIL"
    assert "0 of 1 captions" in report.line()


def test_what_lies_beside_references_is_skipped_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pth.tar").write_bytes(b"")
    (tmp_path / "old.pth").write_bytes(b"")
    (tmp_path / "dev_caps.txt").write_text("a dog\n")
    (tmp_path / "vocab.json").write_text('{"word2idx": {}, "idx2word": {}, "idx": 0}')
    np.save(tmp_path / "dev_ims.npy", np.ones(2))
    assert main(["parity", str(tmp_path)]) == 2  # nothing was compared
    assert "no reference files here" in capsys.readouterr().err
    (tmp_path / "eval.npz").write_bytes((GOLDEN / "eval_random.npz").read_bytes())
    assert main(["parity", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name in ("model.pth.tar", "old.pth", "dev_caps.txt", "vocab.json", "dev_ims.npy"):
        assert f"skip {name}" in said
    assert "1 agree, 0 fail, 0 unknown, 5 skipped" in said
    (tmp_path / "notes.xyz").write_text("?")
    (tmp_path / "other.json").write_text("{}")
    assert main(["parity", str(tmp_path)]) == 1
    assert "1 agree, 0 fail, 2 unknown, 5 skipped" in capsys.readouterr().out
