"""PFAN (IJCAI 2019): position vectors region by region, and the score of its release."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from itm_book.reference.plain import Weights, cosine, linear, query_and_keys
from itm_book.reference.scan import attention, pooling
from itm_core.settings import one_of


def positions(box: list[float], width: float, height: float) -> tuple[list[int], list[float]]:
    """Return the 15 blocks and weights of one box: one block after the other, sorted."""
    x1, y1, x2, y2 = box
    wide, high = width / 16, height / 16
    overlaps = []
    for column in range(16):
        for row in range(16):
            across = min(x2, (column + 1) * wide) - max(x1, column * wide)
            down = min(y2, (row + 1) * high) - max(y1, row * high)
            overlaps.append((max(across, 0.0) * max(down, 0.0), 16 * column + row))
    # of areas that are equal up to rounding, the first is taken
    largest = sorted(overlaps, key=lambda o: (-round(o[0] / (wide * high), 9), o[1]))[:15]
    total = sum(area for area, _ in largest)
    blocks = [block if area > 0 else 256 for area, block in largest]
    return blocks, [area / total if total else 0.0 for area, _ in largest]


def pfan_features(images: Tensor, boxes: Tensor, weights: Weights, *, rule: str) -> Tensor:
    """Return ``[v; p]`` of every region, ``[I, R, F + 200]``, one region after the other."""
    one_of("rule", rule, ("paper", "released"))
    table = weights["img_enc.position_embedding.weight"]
    joined = []
    for v, box in zip(images.flatten(0, 1), boxes.flatten(0, 1), strict=True):
        query = linear(v, weights, "img_enc.fc_att")
        beta = [float(torch.tanh(query @ table[int(block)])) for block in box[:15]]
        gamma = [s * float(a) for s, a in zip(_softmax(beta), box[15:], strict=True)]
        if rule == "released":
            gamma = _softmax(gamma)
        elif sum(gamma) > 0:
            gamma = [g / sum(gamma) for g in gamma]
        p = torch.zeros(table.shape[1], dtype=table.dtype)
        for g, block in zip(gamma, box[:15], strict=True):
            p = p + g * table[int(block)]
        joined.append(torch.cat([v, p]))
    return torch.stack(joined).unflatten(0, images.shape[:2])


def _softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v) for v in values]
    return [p / sum(powers) for p in powers]


def pfan_scores(
    regions: Tensor,
    words: Tensor,
    lens: list[int],
    *,
    direction: str,
    attention_temperature: float,
    aggregation: str,
    lse_temperature: float = 6.0,
    bonus: bool,
) -> Tensor:
    """Return PFAN's scores ``[I, C]``: SCAN's, and half the pooled largest weights."""
    pool = pooling(aggregation, lse_temperature)
    columns = []
    for caption, length in zip(words, lens, strict=True):
        query, keys = query_and_keys(regions, caption[:length], direction)
        weights = attention(query, keys, temperature=attention_temperature)
        score = pool(cosine(query, weights @ keys))
        if bonus:
            score = score + pool(weights.amax(-1)) / 2
        columns.append(score)
    return torch.stack(columns, 1)
