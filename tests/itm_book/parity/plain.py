"""Losses, poolings and rankings number by number, as an independent check of recomputed files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def hinge(s: np.ndarray, margin: float, *, hardest: bool) -> float:
    """Return the hinge loss of ``[n, n]`` scores."""
    n, total = len(s), 0.0
    for i in range(n):
        row = [max(0.0, margin + s[i, j] - s[i, i]) for j in range(n) if j != i]
        column = [max(0.0, margin + s[j, i] - s[i, i]) for j in range(n) if j != i]
        total += max(row) + max(column) if hardest else sum(row) + sum(column)
    return total


def info_nce(s: np.ndarray, temperature: float, margin: float) -> float:
    """Return CHAN's contrastive loss of ``[n, n]`` scores."""
    n, total = len(s), 0.0
    for i in range(n):
        for line in (s[i], s[:, i]):
            others = [(line[j] - s[i, i] + margin) / temperature for j in range(n) if j != i]
            total += math.log(1 + sum(math.exp(x) for x in others)) / n
    return total


def slope(loss: Callable[[np.ndarray], float], s: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Return the gradient of a loss by central differences."""
    found = np.zeros_like(s)
    for at in np.ndindex(*s.shape):
        ends = []
        for change in (step, -step):
            moved = s.copy()
            moved[at] += change
            ends.append(loss(moved))
        found[at] = (ends[0] - ends[1]) / (2 * step)
    return found


def pooled(codes: Sequence[float], kind: str, temperature: float) -> float:
    """Return one pooled number of the codes of one pair."""
    exps = [math.exp(c / temperature) for c in codes]
    return {
        "lse": lambda: math.log(sum(exps)),
        "softmax": lambda: sum(e * c for e, c in zip(exps, codes, strict=True)) / sum(exps),
        "mean": lambda: sum(codes) / len(codes),
        "sum": lambda: sum(codes),
        "max": lambda: max(codes),
    }[kind]()


def evaluated(scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return ranks, first hits, the ten numbers and rSum of scores without ties."""
    images, captions = scores.shape
    n = captions // images
    i2t, t2i = [], []
    for i in range(images):
        order = sorted(range(captions), key=lambda c: -scores[i, c])
        i2t.append(min(order.index(c) for c in range(i * n, i * n + n)))
    for c in range(captions):
        order = sorted(range(images), key=lambda i: -scores[i, c])
        t2i.append(order.index(c // n))
    found = {}
    for side, ranks in (("i2t", i2t), ("t2i", t2i)):
        recalls = [100 * sum(r < k for r in ranks) / len(ranks) for k in (1, 5, 10)]
        numbers = [*recalls, math.floor(np.median(ranks)) + 1, sum(ranks) / len(ranks) + 1]
        found |= {side: np.array(numbers), f"{side}_ranks": np.array(ranks)}
    found["i2t_top1"], found["t2i_top1"] = scores.argmax(1), scores.argmax(0)
    found["rsum"] = np.array(found["i2t"][:3].sum() + found["t2i"][:3].sum())
    return found
