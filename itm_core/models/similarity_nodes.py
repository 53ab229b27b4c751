"""Aggregation of similarity vectors: SGRAF's SAF and SGR.

Diao, Zhang, Ma, Lu, *Similarity Reasoning and Filtration for Image-Text Matching*, AAAI 2021.
The nodes of a pair are its global similarity (node 0) and one similarity vector for each query.

Page: "Every method".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import TINY, linear
from itm_core.environment import exact
from itm_core.models.aggregation import squashed_contributions
from itm_core.models.alignment import SimilarityVector
from itm_core.models.pairing import queries_first, query_layout
from itm_core.models.regulation import AttentionPass


class NodeLogit(NamedTuple):
    """The logit ``parts.sum(1) + constant`` with weights and parts ``[C, N, P]`` of the nodes."""

    weights: Tensor
    parts: Tensor
    constant: Tensor


class NodeAggregation(nn.Module, ABC):
    """The nodes of a pair, and the sigmoid of the logit that a subclass computes from them."""

    def __init__(self, embedding: int, width: int, steps: int) -> None:
        super().__init__()
        self.local = SimilarityVector(embedding, width)
        self.pooled = SimilarityVector(embedding, width)
        self.score = linear(width, 1)

    def forward(self, attention: AttentionPass) -> Tensor:
        """Return the scores ``[C, P]`` of a pass of attention."""
        _, parts, constant = self.logit(attention)
        return (parts.sum(1) + constant).sigmoid()

    def explain(self, attention: AttentionPass) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return score ``[C, P]``, each query's contribution, bias ``[C, P]``, node weights.

        Contributions and weights are ``[C, L, P, 1]`` (t2i) or ``[C, 1, P, R]`` (i2t).
        """
        weights, parts, constant = self.logit(attention)
        score = (parts.sum(1) + constant).sigmoid()
        terms, bias = squashed_contributions("sigmoid", parts[:, 1:], constant + parts[:, 0])
        key_axis = attention.key_axis
        return score, query_layout(terms, key_axis), bias, query_layout(weights[:, 1:], key_axis)

    @abstractmethod
    def logit(self, attention: AttentionPass) -> NodeLogit:
        """Return the logit and its parts."""

    def nodes(self, attention: AttentionPass) -> tuple[Tensor, Tensor | None]:
        """Return the nodes ``[C, N, P, K]`` and where they are real, ``[C or 1, N, P or 1]``."""
        local = queries_first(self.local(attention.difference()), attention.key_axis)
        mask = attention.pairing.mask(attention.query_axis)
        captions, partners = attention.pairing.pooled()
        first = self.pooled(captions - partners)[:, None]
        nodes = torch.cat([first.expand_as(local[:, :1]), local], 1)
        if mask is not None:
            mask = queries_first(mask, attention.key_axis)
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
        return nodes, mask


class SAF(NodeAggregation):
    """Similarity attention filtration: a learned weight for each node (equations 10-11).

    ``w_p = sigmoid(BN(w_f . s_p))``, normalised to sum one; ``unit(sum w_p s_p)`` is scored.
    """

    def __init__(self, embedding: int, width: int, steps: int) -> None:
        super().__init__(embedding, width, steps)
        self.weigh = linear(width, 1)
        self.norm = CaptionNorm()

    def logit(self, attention: AttentionPass) -> NodeLogit:
        """Return the logit; the weights are those of the filtration."""
        nodes, mask = self.nodes(attention)
        raw = self.weigh(nodes).squeeze(-1)
        weights = self.norm(raw, mask, attention.pairing.words.indices).sigmoid()
        if mask is not None:
            weights = weights * mask
        weights = weights / (weights.sum(1, keepdim=True) + TINY)
        pooled = (weights.unsqueeze(-1) * nodes).sum(1)
        length = (pooled.square().sum(-1).clamp_min(1e-30).sqrt() + TINY)[:, None]
        parts = weights * (nodes @ self.score.weight[0]) / length
        return NodeLogit(weights, parts, self.score.bias)


class CaptionNorm(nn.Module):
    """Batch normalisation of one channel, with one caption and all images as a batch.

    The released code calls ``BatchNorm1d(1)`` in a loop over the captions: statistics over the
    images and nodes of a caption, running averages updated caption by caption. Here all captions
    are normalised at once; `update_running_stats` updates the averages once in a step.
    """

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))
        self.running_mean = nn.Buffer(torch.zeros(1))
        self.running_var = nn.Buffer(torch.ones(1))
        self.momentum, self.eps = momentum, eps
        self.collected: list[tuple[Tensor, Tensor]] = []  # indices [n] and statistics [n, 2]

    def forward(self, x: Tensor, mask: Tensor | None, indices: Tensor) -> Tensor:
        """Return ``x [C, N, P]`` normalised; ``indices [C]`` are the captions' in their batch."""
        if not self.training:
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            return (x - self.running_mean) * scale + self.bias
        real = torch.ones_like(x) if mask is None else mask.expand_as(x).to(x)
        count = real.sum((1, 2), keepdim=True)
        mean = (x * real).sum((1, 2), keepdim=True) / count
        squares = ((x - mean).square() * real).sum((1, 2), keepdim=True)
        unbiased = squares / (count - 1).clamp_min(1)
        self.collected.append((indices, torch.cat([mean, unbiased], 1).squeeze(2).detach()))
        return (x - mean) * (self.weight * (squares / count + self.eps).rsqrt()) + self.bias

    @torch.no_grad()
    def batch_stats(self, count: int) -> Tensor:
        """Return mean and unbiased variance of each caption of a batch, ``[count, 2]``.

        In the order of the batch whatever the tiles were, the latest of each caption since the
        last call; zeros for captions that were not scored.
        """
        stats = self.running_mean.new_zeros(count, 2)
        for indices, part in self.collected:
            stats.index_copy_(0, indices, part.to(stats))
        self.collected.clear()
        return stats

    @torch.no_grad()
    def update_running_stats(self, stats: Tensor) -> None:
        """Update the running averages by ``stats [n, 2]``, as one caption after another would.

        With momentum m the result of n updates is
        ``(1 - m)^n running + sum_i m (1 - m)^(n - 1 - i) stats_i``, computed in float64.
        """
        n = len(stats)
        stats = exact(stats)
        remaining = torch.arange(n - 1, -1, -1, dtype=torch.float64, device=stats.device)
        moved = (self.momentum * (1 - self.momentum) ** remaining) @ stats
        for running, move in zip((self.running_mean, self.running_var), moved, strict=True):
            running.copy_((1 - self.momentum) ** n * exact(running) + move)


class SGR(NodeAggregation):
    """Similarity graph reasoning: messages between the nodes; the global node is scored.

    ``E = softmax((W_q X)(W_k X)')``, ``X <- relu(W_g E X)``, with separate weights at each step
    (equations 7-9). ``W_q' W_k`` is computed first, which saves one of three products of a step;
    the bias of ``W_k`` adds the same to every key, so the softmax cancels it.
    """

    def __init__(self, embedding: int, width: int, steps: int) -> None:
        super().__init__(embedding, width, steps)
        self.query = nn.ModuleList(linear(width, width) for _ in range(steps))
        self.key = nn.ModuleList(linear(width, width) for _ in range(steps))
        self.update = nn.ModuleList(linear(width, width) for _ in range(steps))

    def logit(self, attention: AttentionPass) -> NodeLogit:
        """Return the logit; the weights are the last step's edges to the global node.

        A node's part of the logit is its message to the global node in the last step, which
        includes what it received from other nodes in earlier steps.
        """
        nodes, mask = self.nodes(attention)
        X = nodes.transpose(1, 2)  # [C, P, N, K]
        padded = None if mask is None else ~mask.transpose(1, 2)[:, :, None]
        last = len(self.query) - 1
        for k, (query, key, update) in enumerate(
            zip(self.query, self.key, self.update, strict=True)
        ):
            queries = X[:, :, :1] if k == last else X  # only the global node is scored
            key_map = key.get_parameter("weight")
            product = query.get_parameter("weight").T @ key_map
            edges = (queries @ product + query.get_parameter("bias") @ key_map) @ X.mT
            if padded is not None:
                edges = edges.masked_fill(padded, -torch.inf)
            edges = edges.softmax(-1)
            if k < last:
                X = update(edges @ X).relu()
        # where the ReLU is active the last step is linear: the parts of the nodes add up exactly
        edges = edges[:, :, 0]
        received = (edges.unsqueeze(-1) * X).sum(2)  # [C, P, K]
        open_channels = (update(received) > 0).to(X)
        slope = (self.score.weight * open_channels) @ update.weight  # [C, P, K]
        parts = edges * (X @ slope.unsqueeze(-1)).squeeze(-1)
        constant = (open_channels * self.score.weight * update.bias).sum(-1) + self.score.bias
        return NodeLogit(edges.transpose(1, 2), parts.transpose(1, 2), constant)


NODE_AGGREGATIONS: dict[str, type[NodeAggregation]] = {"SAF": SAF, "SGR": SGR}
