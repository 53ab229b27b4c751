"""Training steps against those of the authors' code, and that every part of a step is seen."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itm_book.parity import compare_file, steps
from itm_book.parity.format import Stored, read
from itm_book.parity.models import build, renamed
from itm_core.models import Attending
from itm_core.models.pairing import AllPairs
from itm_core.training import optimisation
from tests.itm_book.parity.writing import GOLDEN, arrays_of, config_of, without, write

LOCKSTEP = sorted((GOLDEN / "lockstep").glob("*.npz"))
NAMES = [path.stem for path in LOCKSTEP]
ADAMW = [name for name in NAMES if not name.startswith(("scan", "sgraf"))]


def test_all_eight_are_there_and_agree_in_float64() -> None:
    assert len(LOCKSTEP) == 8
    for path in LOCKSTEP:
        report = compare_file(path)
        assert (report.kind, report.verdict) == ("training steps", "ok"), report.line()
        soft = "soft" in path.stem
        limits = {d.name.split("/")[0]: d.limit for d in report.differences if d.exempt is None}
        assert limits == {
            "losses": 1e-7 if soft else 1e-10,
            "final_weights": 1e-6 if soft else 1e-7,
        }
        stored = set(read(path).folder("outputs"))
        assert {d.name for d in report.differences} == stored


def test_only_what_follows_rounding_is_exempt() -> None:
    free = re.compile(
        r"final_weights/(sim_enc\.rar_modules\.\d\.rar_v_w\.0\.bias|img_enc\.mlp\.layers\.0\.bias"
        r"|sim_enc\.SAF_module\.bn\.num_batches_tracked)"
    )
    exempt = {
        path.stem: [d.name for d in compare_file(path).differences if d.exempt] for path in LOCKSTEP
    }
    counts = {name: len(found) for name, found in exempt.items() if found}
    assert counts == {"rar_t2i_3": 4, "rcar_i2t_2": 3, "rcr_t2i_2": 1, "sgraf_saf": 1}
    assert all(free.fullmatch(name) for found in exempt.values() for name in found)


def broken(name: str) -> bool:
    return compare_file(GOLDEN / "lockstep" / f"{name}.npz").verdict == "FAIL"


@pytest.mark.parametrize("name", NAMES)
def test_steps_without_clipping_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_, **__: torch.ones(()))
    assert broken(name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("forced", [True, False])
def test_steps_with_the_wrong_negatives_are_found(
    name: str, forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = optimisation.gradient_step
    monkeypatch.setattr(
        optimisation, "gradient_step", lambda *a, **k: step(*a, **(k | {"hardest": forced}))
    )
    assert broken(name)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_kept_from_the_step_before_are_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (torch.optim.Adam, torch.optim.AdamW):
        monkeypatch.setattr(kind, "zero_grad", lambda *_, **__: None)
    assert broken(name)


@pytest.mark.parametrize("name", ADAMW)
def test_steps_without_decay_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make = steps.make_optimiser
    plain = {"optimiser": "adam", "weight_decay": 0.0}
    monkeypatch.setattr(steps, "make_optimiser", lambda m, t: make(m, t.replace(**plain)))
    assert broken(name)


@pytest.mark.parametrize("name", ["rcar_i2t_2", "sgraf_saf"])
def test_batch_norm_that_learns_at_another_rate_is_found(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(*given: Any) -> Attending:
        matcher = build(*given)
        for part in matcher.modules():
            if isinstance(part, torch.nn.BatchNorm1d):
                part.momentum = 0.2
        return matcher

    monkeypatch.setattr(steps, "build", hasty)
    assert broken(name)


@pytest.mark.parametrize("name", ["chan_hard_lse", "scan_t2i_lse", "sgraf_sgr2"])
def test_a_change_beyond_the_limit_is_found_in_every_number(tmp_path: Path, name: str) -> None:
    arrays = arrays_of(f"lockstep/{name}")
    changed = dict(arrays)
    for key in arrays:
        if key.startswith("outputs/final_weights/"):
            value = arrays[key].copy()
            value.flat[-1] += 1 if value.dtype.kind == "i" else 2e-7 * max(1, abs(value.flat[-1]))
            changed[key] = value
    changed["outputs/losses"] = arrays["outputs/losses"] * (1 + 2e-10)
    report = compare_file(write(tmp_path, changed))
    assert report.verdict == "FAIL"
    assert [d.name for d in report.differences if d.passed] == []


def by_hand(stored: Stored, count: int) -> tuple[list[float], dict[str, Tensor]]:
    """Take Adam steps written out, on the whole graph of all pairs; return losses and weights."""
    c = stored.config
    matcher = build(stored, "scan").train()
    assert isinstance(matcher, Attending)
    parameters = dict(matcher.named_parameters())
    first = {n: torch.zeros_like(p) for n, p in parameters.items()}
    second = {n: torch.zeros_like(p) for n, p in parameters.items()}
    losses = []
    for k in range(count):
        images, ids, lens = (
            stored.tensor(f"inputs/step{k}/{n}") for n in ("images", "captions", "lengths")
        )
        S = matcher(AllPairs(matcher.regions(images), matcher.words(ids, lens))).T
        loss = hinge(S, c["margin"], hardest=c["hard_per_step"][k])
        losses.append(loss.item())
        grads = dict(zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True))
        norm = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
        with torch.no_grad():
            for n, p in parameters.items():
                g = grads[n] * min(1.0, c["grad_clip"] / (norm + 1e-6))
                first[n] = 0.9 * first[n] + 0.1 * g
                second[n] = 0.999 * second[n] + 0.001 * g * g
                mean, square = first[n] / (1 - 0.9 ** (k + 1)), second[n] / (1 - 0.999 ** (k + 1))
                p -= c["learning_rate"] * mean / (square.sqrt() + 1e-8)
    return losses, {n: p.detach() for n, p in parameters.items()}


def hinge(S: Tensor, margin: float, *, hardest: bool) -> Tensor:
    n = len(S)
    rows = torch.stack(
        [torch.stack([margin + S[i, j] - S[i, i] for j in range(n) if j != i]) for i in range(n)]
    ).relu()
    columns = torch.stack(
        [torch.stack([margin + S[j, i] - S[i, i] for j in range(n) if j != i]) for i in range(n)]
    ).relu()
    return sum(x.max(1).values.sum() if hardest else x.sum() for x in (rows, columns))


@pytest.mark.parametrize("count", [1, 4])
def test_another_count_of_steps_and_other_options_are_compared(tmp_path: Path, count: int) -> None:
    arrays = arrays_of("lockstep/scan_t2i_lse")
    config = config_of(arrays) | {
        "release": "https://example.org/fork.git",
        "steps": count,
        "margin": 0.35,
        "learning_rate": 3e-4,
        "grad_clip": 0.7,
        "lambda_softmax": 6.0,
        "hard_per_step": [True, False, True, False][:count],
    }
    dropped = ("outputs/", *(f"inputs/step{k}/" for k in range(count, 6)))
    arrays = without(arrays, dropped)
    arrays["outputs/losses"] = np.zeros(count)
    stored = read(write(tmp_path, arrays, config))
    losses, weights = by_hand(stored, count)
    theirs = {k: k for k in stored.folder("weights")}
    ours = {k: next(iter(renamed({k: np.ones(1)}, build(stored, "scan"), "scan"))) for k in theirs}
    arrays["outputs/losses"] = np.array(losses)
    arrays |= {f"outputs/final_weights/{k}": weights[ours[k]].numpy() for k in theirs}
    report = compare_file(write(tmp_path, arrays, config))
    assert (report.kind, report.verdict) == ("training steps", "ok"), report.line()
    assert all(d.exempt is None for d in report.differences)
    for key in [k for k in arrays if k.startswith("outputs/")]:
        value = arrays[key].copy()
        value.flat[0] += 1e-6
        report = compare_file(write(tmp_path, arrays | {key: value}, config))
        assert report.verdict == "FAIL", key


@pytest.mark.parametrize("name", ["rcar_train_steps", "chan_train_steps_gru"])
def test_fewer_of_the_float32_steps_are_compared(tmp_path: Path, name: str) -> None:
    arrays = arrays_of(name)
    kept: dict[str, Any] = without(arrays, ("outputs/final", "outputs/after_step3"))
    config = config_of(arrays) | {"steps": 2}
    config |= {"hard_per_step": config["hard_per_step"][:2]} if "hard_per_step" in config else {}
    rows = [k for k in kept if re.fullmatch(r"outputs/(losses|grad_norms.*)", k)]
    assert len(rows) == 2
    kept |= {k: kept[k][:2] for k in rows}
    report = compare_file(write(tmp_path, kept, config))
    assert (report.kind, report.verdict) == ("training steps", "ok"), report.line()
    for key in rows:
        value = kept[key].copy()
        value[1] *= 1.001
        assert compare_file(write(tmp_path, kept | {key: value}, config)).verdict == "FAIL"


def test_steps_of_an_unknown_method_fail_by_name(tmp_path: Path) -> None:
    arrays = arrays_of("lockstep/scan_t2i_lse")
    config = {k: v for k, v in config_of(arrays).items() if k != "cross_attn"}
    report = compare_file(write(tmp_path, arrays, config))
    assert report.verdict == "FAIL"
    assert "an unknown method" in report.line()


def test_a_loss_that_is_not_finite_updates_nothing() -> None:
    stored = read(GOLDEN / "lockstep" / "scan_t2i_lse.npz")
    matcher = build(stored, "scan").train()
    before = {n: p.detach().clone() for n, p in matcher.named_parameters()}
    settings = steps._training(stored)
    optimiser = optimisation.make_optimiser(matcher, settings)
    batch = steps._batch(stored, 0)
    batch = dataclasses.replace(batch, features=batch.features * math.nan)
    loss = steps.LossSettings()
    value, norm = optimisation.train_step(matcher, optimiser, batch, loss, settings, hardest=True)
    assert not math.isfinite(value)
    assert norm.isnan()
    assert all(torch.equal(p, before[n]) for n, p in matcher.named_parameters())
    assert not optimiser.state
