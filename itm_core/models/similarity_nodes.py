"""One score per pair from similarity vectors: SGRAF's two modules.

Diao, Zhang, Ma, Lu, *Similarity Reasoning and Filtration for Image-Text Matching*, AAAI 2021.
The nodes of a pair are its whole similarity (node 0) and one similarity vector for each query.

Page: "The hosts".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itm_core.encoders.fragments import TINY
from itm_core.models.alignment import SimilarityVector, linear
from itm_core.models.pairing import REGIONS, Pairing, other
from itm_core.training.distributed import ProcessGroup

NODE_AGGREGATIONS = ("SAF", "SGR")


class NodeAggregation(nn.Module):
    """What SAF and SGR share: the nodes of a pair, and the sigmoid at the end.

    Nodes are laid out ``[C, N, P, K]``, N = 1 + queries, the whole similarity first.
    """

    scope = "pair"

    def __init__(self, embedding: int, width: int) -> None:
        super().__init__()
        self.local = SimilarityVector(embedding, width)
        self.whole = SimilarityVector(embedding, width)
        self.score = linear(width, 1)

    def nodes(self, pairing: Pairing, axis: int, weights: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the nodes ``[C, N, P, K]`` and where they are real, ``[C or 1, N, P or 1]``.

        ``weights`` is the attention, its queries compared with what they saw at unit length.
        """
        local = self.local(pairing.difference(weights, axis))
        local = local.squeeze(3 if axis == REGIONS else 1)
        mask = pairing.mask(other(axis))
        if axis != REGIONS:  # regions ask: their axis becomes that of the nodes
            local = local.transpose(1, 2)
            mask = None if mask is None else mask.squeeze(1).transpose(1, 2)
        elif mask is not None:
            mask = mask.squeeze(3)
        captions, partners = pairing.wholes()
        first = self.whole(captions - partners)[:, None]
        nodes = torch.cat([first.expand_as(local[:, :1]), local], 1)
        if mask is not None:
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
        return nodes, mask


class SAF(NodeAggregation):
    """Similarity attention filtration: nodes weighted by how much they matter (equations 10-11).

    ``w_p = sigmoid(BN(w_f . s_p))``, normalised to sum one; ``unit(sum w_p s_p)`` is scored.
    """

    scope = "caption"

    def __init__(self, embedding: int, width: int, steps: int) -> None:
        super().__init__(embedding, width)
        self.weigh = linear(width, 1)
        self.norm = CaptionNorm()

    def forward(
        self, nodes: Tensor, mask: Tensor | None, pairing: Pairing
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights ``[C, N, P]``, each node's part of the logit, and the constant part."""
        raw = self.weigh(nodes).squeeze(-1)
        weights = self.norm(raw, mask, pairing.words.places).sigmoid()
        if mask is not None:
            weights = weights * mask
        weights = weights / (weights.sum(1, keepdim=True) + TINY)
        pooled = (weights.unsqueeze(-1) * nodes).sum(1)
        length = (pooled.square().sum(-1).clamp_min(1e-30).sqrt() + TINY)[:, None]
        parts = weights * (nodes @ self.score.weight[0]) / length
        return weights, parts, self.score.bias


class CaptionNorm(nn.Module):
    """Batch normalisation of one channel whose batch is one caption with all images.

    The released loop calls ``BatchNorm1d(1)`` once for every caption: statistics over its
    images and nodes, running averages moved caption by caption. Here all captions at once;
    `update_running_stats` moves the averages afterwards, in the order of the batch.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("running_mean", torch.zeros(1))
        self.register_buffer("running_var", torch.ones(1))
        self.momentum, self.eps = momentum, eps
        self.seen: dict[int, tuple[Tensor, Tensor]] = {}

    def forward(self, x: Tensor, mask: Tensor | None, places: Tensor) -> Tensor:
        """Return ``x [C, N, P]`` normalised; ``places [C]`` are the captions' in their batch."""
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return (x - mean) * (self.weight * (var + self.eps).rsqrt()) + self.bias
        real = torch.ones_like(x) if mask is None else mask.expand_as(x).to(x)
        count = real.sum((1, 2), keepdim=True)
        mean = (x * real).sum((1, 2), keepdim=True) / count
        squares = ((x - mean).square() * real).sum((1, 2), keepdim=True)
        unbiased = (squares / (count - 1).clamp_min(1)).detach().flatten()
        for place, m, v in zip(places.tolist(), mean.detach().flatten(), unbiased, strict=True):
            self.seen[place] = (m, v)
        return (x - mean) * (self.weight * (squares / count + self.eps).rsqrt()) + self.bias

    @torch.no_grad()
    def update_running_stats(self) -> None:
        """Move the running averages by the captions seen since the last call, in their order."""
        for _, (mean, var) in sorted(self.seen.items()):
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        self.seen.clear()


class SGR(NodeAggregation):
    """Similarity graph reasoning: nodes exchange what they know, the whole one is scored.

    ``E = softmax((W_q X)(W_k X)')``, ``X <- relu(W_g E X)``, with weights of its own at each of
    the steps (equations 7-9). The two maps meet in one product before they meet the nodes, which
    leaves a third of the work of a step; what the bias of ``W_k`` adds is the same for every node
    that answers, so the softmax does not see it.
    """

    def __init__(self, embedding: int, width: int, steps: int) -> None:
        super().__init__(embedding, width)
        self.ask = nn.ModuleList(linear(width, width) for _ in range(steps))
        self.answer = nn.ModuleList(linear(width, width) for _ in range(steps))
        self.update = nn.ModuleList(linear(width, width) for _ in range(steps))

    def forward(
        self, nodes: Tensor, mask: Tensor | None, pairing: Pairing
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the last step's edges to the whole node ``[C, N, P]``, its parts, the constant.

        A node's part of the logit is what it sends to the whole node in the last step; by then
        it carries what the others sent before.
        """
        X = nodes.transpose(1, 2)  # [C, P, N, K]
        hidden = None if mask is None else ~mask.transpose(1, 2)[:, :, None]
        last = len(self.ask) - 1
        for k, (ask, answer, update) in enumerate(
            zip(self.ask, self.answer, self.update, strict=True)
        ):
            asking = X[:, :, :1] if k == last else X  # only the whole node is read in the end
            answers = answer.get_parameter("weight")
            both = ask.get_parameter("weight").T @ answers
            edges = (asking @ both + ask.get_parameter("bias") @ answers) @ X.mT
            if hidden is not None:
                edges = edges.masked_fill(hidden, -torch.inf)
            edges = edges.softmax(-1)
            if k == last:
                return self._read(X, edges[:, :, 0], update)
            X = update(edges @ X).relu()
        raise AssertionError("SGR has at least one step")

    def _read(self, X: Tensor, edges: Tensor, update: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Score the whole node after the last step, and split the logit by sender.

        Where relu lets a channel through the step is linear, so the parts add up exactly.
        """
        received = (edges.unsqueeze(-1) * X).sum(2)  # [C, P, K]
        open_channels = (update(received) > 0).to(X)
        slope = (self.score.weight * open_channels) @ update.weight  # [C, P, K]
        parts = edges * (X @ slope.unsqueeze(-1)).squeeze(-1)
        constant = (open_channels * self.score.weight * update.bias).sum(-1) + self.score.bias
        return edges.transpose(1, 2), parts.transpose(1, 2), constant


def sync_running_stats(module: nn.Module, mine: Tensor, count: int, group: ProcessGroup) -> None:
    """Let every `CaptionNorm` inside a module know what all processes of a team have seen.

    ``mine`` are the captions, of the ``count`` in the batch, that this process has seen.
    """
    if group.size == 1:
        return
    for part in module.modules():
        if isinstance(part, CaptionNorm):
            seen = [torch.stack(part.seen[place]) for place in mine.tolist()]
            own = torch.stack(seen) if seen else part.running_mean.new_zeros(0, 2)
            part.seen = {k: (m, v) for k, (m, v) in enumerate(group.all_gather(own, count))}


def update_running_stats(module: nn.Module) -> None:
    """Move the running averages of every `CaptionNorm` inside a module."""
    for part in module.modules():
        if isinstance(part, CaptionNorm):
            part.update_running_stats()
