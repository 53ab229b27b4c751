"""RCAR (TIP 2023) and its two regulators, one pair at a time, in evaluation.

``query [L, D]`` and ``keys [R, D]`` are the words and the regions of a pair (t2i), or the regions
and the words (i2t). With ``keys [I, R, D]`` and ``query [I, L, D]`` the same lines score I images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from itm_book.reference.plain import Function, Weights, cosine, linear, query_and_keys, unit
from itm_book.reference.scan import attention


@dataclass(frozen=True)
class Maps:
    """The linear maps of one step, each with its bias, named as in the equations.

    Those that a mode does not use are never called. ``of`` takes the names of the release.
    """

    W_a: Function  # [.., D] -> [.., K]  similarity vector
    W_1: Function  # RCR: channels, hidden layer
    W_2: Function
    W_3: Function  # RCR: temperature, hidden layer
    w_2: Function
    W_l: Function  # RAR: local
    W_g: Function  # RAR: global
    w: Function

    @classmethod
    def of(cls, weights: Weights, k: int) -> Maps:
        """Return the maps of step ``k`` of released weights."""
        align, rcr, rar = (f"sim_enc.{part}_modules.{k}" for part in ("alv", "rcr", "rar"))
        names = (
            f"{align}.sim_transform_w",
            f"{rcr}.rcr_matrix_w.0",
            f"{rcr}.rcr_matrix_w.2",
            f"{rcr}.rcr_smooth_w.0",
            f"{rcr}.rcr_smooth_w.2",
            f"{rar}.rar_k_w.0",
            f"{rar}.rar_q_w.0",
            f"{rar}.rar_v_w.0",
        )
        return cls(*(partial(linear, weights=weights, name=name) for name in names))


def attend(query: Tensor, keys: Tensor, e: Tensor, temperature: Tensor) -> Tensor:
    """Return each query's attended vector; ``e`` scales the channels of the query."""
    A = attention(e * query, keys, temperature=temperature)  # [L, R]
    return unit(A @ keys)  # [L, D]


def similarity(query: Tensor, attended: Tensor, maps: Maps) -> Tensor:
    """Return the similarity vector of each query and its attended vector."""
    return unit(maps.W_a((query - attended) ** 2))  # [L, K]


def rcr(a: Tensor, e: Tensor, temperature: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
    """Return the channel factors and the temperatures of the next pass."""
    e = e + torch.tanh(maps.W_2(torch.tanh(maps.W_1(a))))  # [L, D]
    temperature = temperature + maps.w_2(torch.tanh(maps.W_3(a)))  # [L, 1]
    return e.clamp(-1, 1), torch.relu(temperature)


def rar(a: Tensor, pooled: Tensor, maps: Maps) -> Tensor:
    """Return the pooled similarity vector, with the queries weighted anew."""
    agreement = torch.tanh(maps.W_l(a)) * torch.tanh(maps.W_g(pooled))  # [L, K]
    beta = torch.softmax(maps.w(agreement), dim=-2)  # [L, 1]
    return unit((beta * a).sum(-2, keepdim=True))  # [1, K]


def rcar_score(
    query: Tensor, keys: Tensor, steps: Sequence[Maps], w_s: Function, temperature: float
) -> Tensor:
    """Return the score of one pair with both regulators."""
    e = torch.ones_like(query)  # [L, D]
    t = torch.full_like(query[..., :1], temperature)  # [L, 1]
    for k, maps in enumerate(steps):
        a = similarity(query, attend(query, keys, e, t), maps)  # [L, K]
        if k == 0:
            pooled = a.mean(-2, keepdim=True)  # [1, K]
        pooled = rar(a, pooled, maps)  # [1, K]
        e, t = rcr(a, e, t, maps) if k + 1 < len(steps) else (e, t)
    return torch.sigmoid(w_s(pooled))[..., 0, 0]  # a number


def rcr_score(
    query: Tensor, keys: Tensor, steps: Sequence[Maps], w_s: Function, temperature: float
) -> Tensor:
    """Return the score of one pair with RCR alone; without steps, of the host."""
    e, t = torch.ones_like(query), torch.full_like(query[..., :1], temperature)
    for maps in steps:
        a = similarity(query, attend(query, keys, e, t), maps)
        e, t = rcr(a, e, t, maps)
    return cosine(query, attend(query, keys, e, t)).mean(-1)


def rar_score(
    query: Tensor, keys: Tensor, steps: Sequence[Maps], w_s: Function, temperature: float
) -> Tensor:
    """Return the score of one pair with RAR alone: one pass of attention, pooled repeatedly."""
    e, t = torch.ones_like(query), torch.full_like(query[..., :1], temperature)
    a = similarity(query, attend(query, keys, e, t), steps[0])
    pooled = a.mean(-2, keepdim=True)
    for maps in steps:
        pooled = rar(a, pooled, maps)
    return torch.sigmoid(w_s(pooled))[..., 0, 0]


def mean_score(
    query: Tensor, keys: Tensor, steps: Sequence[Maps], w_s: Function, temperature: float
) -> Tensor:
    """Return the score of one pair by the plain mean of its similarity vectors: RAR, no step."""
    e, t = torch.ones_like(query), torch.full_like(query[..., :1], temperature)
    a = similarity(query, attend(query, keys, e, t), steps[0])
    return torch.sigmoid(w_s(a.mean(-2, keepdim=True)))[..., 0, 0]


MODES = {"only_rcr": rcr_score, "only_rar": rar_score, "coop_rcar": rcar_score}


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
    score, maps = MODES[mode], [Maps.of(weights, k) for k in range(steps)]
    if mode == "only_rar" and not steps:
        score, maps = mean_score, [Maps.of(weights, 0)]
    w_s = partial(linear, weights=weights, name="sim_enc.sim_eval_w")
    columns = []
    for caption, length in zip(words, lens, strict=True):
        query, keys = query_and_keys(regions, caption[:length], direction)
        columns.append(score(query, keys, maps, w_s, attention_temperature))
    return torch.stack(columns, 1)
