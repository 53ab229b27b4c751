"""RCAR (TIP 2023) and its parts, caption by caption, in evaluation; weights named as released."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_book.reference.plain import EPSILON, Weights, cosine, linear, query_and_key, unit

MODES = ("only_rcr", "only_rar", "coop_rcar")


def rcar_scores(
    regions: Tensor,
    words: Tensor,
    lens: list[int],
    weights: Weights,
    *,
    mode: str,
    steps: int,
    direction: str,
    attention_temperature: float,
) -> Tensor:
    """Return the scores ``[I, C]`` of a mode of `MODES`; RCR with 0 steps has no regulator."""
    score = {"only_rcr": _only_rcr, "only_rar": _only_rar, "coop_rcar": _coop_rcar}[mode]
    columns = []
    for caption, length in zip(words, lens, strict=True):
        query, context = query_and_key(regions, caption[:length], direction)
        columns.append(score(query, context, weights, steps, attention_temperature))
    return torch.stack(columns, 1)


def _only_rcr(query: Tensor, context: Tensor, weights: Weights, steps: int, start: float) -> Tensor:
    e, temperature = _initial_control(query, start)
    for k in range(steps):
        a = _alignment(query, _attended(query, context, e, temperature), weights, k)
        e, temperature = _rcr(a, e, temperature, weights, k)
    return cosine(query, _attended(query, context, e, temperature)).mean(1)


def _only_rar(query: Tensor, context: Tensor, weights: Weights, steps: int, start: float) -> Tensor:
    e, temperature = _initial_control(query, start)
    a = _alignment(query, _attended(query, context, e, temperature), weights, 0)
    pooled = a.mean(1)
    for k in range(steps):
        pooled = _rar(a, pooled, weights, k)
    return torch.sigmoid(linear(pooled, weights, "sim_enc.sim_eval_w"))[:, 0]


def _coop_rcar(
    query: Tensor, context: Tensor, weights: Weights, steps: int, start: float
) -> Tensor:
    e, temperature = _initial_control(query, start)
    pooled = None
    for k in range(steps):
        a = _alignment(query, _attended(query, context, e, temperature), weights, k)
        if pooled is None:
            pooled = a.mean(1)
        if k < steps - 1:
            e, temperature = _rcr(a, e, temperature, weights, k)
        pooled = _rar(a, pooled, weights, k)
    assert pooled is not None
    return torch.sigmoid(linear(pooled, weights, "sim_enc.sim_eval_w"))[:, 0]


def _initial_control(query: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return torch.ones_like(query), torch.full_like(query[:, :, :1], temperature)


def _attended(query: Tensor, context: Tensor, e: Tensor, temperature: Tensor) -> Tensor:
    """Return what each query attends to, ``[I, Q, D]``; e scales the scores only."""
    raw = (e * query) @ context.transpose(1, 2)  # [I, Q, K]
    raw = torch.where(raw > 0, raw, 0.1 * raw)
    raw = raw / (raw.pow(2).sum(1, keepdim=True).sqrt() + EPSILON)
    return unit(torch.softmax(temperature * raw, dim=2) @ context)


def _alignment(query: Tensor, attended: Tensor, weights: Weights, k: int) -> Tensor:
    difference = (query - attended).pow(2)
    return unit(linear(difference, weights, f"sim_enc.alv_modules.{k}.sim_transform_w"))


def _rcr(
    a: Tensor, e: Tensor, temperature: Tensor, weights: Weights, k: int
) -> tuple[Tensor, Tensor]:
    name = f"sim_enc.rcr_modules.{k}"
    change = torch.tanh(linear(a, weights, f"{name}.rcr_matrix_w.0"))
    change = torch.tanh(linear(change, weights, f"{name}.rcr_matrix_w.2"))
    change_t = torch.tanh(linear(a, weights, f"{name}.rcr_smooth_w.0"))
    change_t = linear(change_t, weights, f"{name}.rcr_smooth_w.2")
    return torch.clamp(change + e, -1, 1), torch.relu(change_t + temperature)


def _rar(a: Tensor, pooled: Tensor, weights: Weights, k: int) -> Tensor:
    name = f"sim_enc.rar_modules.{k}"
    local = torch.tanh(linear(a, weights, f"{name}.rar_k_w.0"))
    whole = torch.tanh(linear(pooled, weights, f"{name}.rar_q_w.0"))
    beta = torch.softmax(linear(local * whole[:, None], weights, f"{name}.rar_v_w.0"), dim=1)
    return unit((beta * a).sum(1))
