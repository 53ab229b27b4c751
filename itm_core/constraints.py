"""CCR and CCS: contrastive constraints on the attention in training.

Chen, Yuan, Zhao, Chen, Luo, Davis, Metaxas, *More Than Just Attention: Improving Cross-Modal
Attentions with Contrastive Constraints for Image-Text Matching*, WACV 2023. **Only the title and
the abstract could be read.** This is an interpretation of them: every question that the paper's
body would answer is a setting.

* *Content re-sourcing* (CCR): a query must be more relevant to its attended content than to the
  content that it did not attend to: ``[m + R(q, unattended) - R(q, attended)]+``.
* *Content swapping* (CCS): attended content must be more relevant to its query than to a query of
  another pair: ``[m + R(q', attended) - R(q, attended)]+``.

No content vector is formed: with weights w, dot products s and Gram matrix G of the keys,
``R(q, sum w_j k_j) = w.s / (|q| sqrt(w'Gw))``.

Page: the chapter on the constraints, "The method, as we reconstruct it".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from itm_core.encoders.fragments import TINY
from itm_core.errors import InputError
from itm_core.models.pairing import REGIONS
from itm_core.models.regulation import AttentionPass
from itm_core.settings import Count, NotNegative, Settings, name_in, one_of, registered

RELEVANCES = ("cosine", "dot")


class ConstraintSettings(Settings):
    """The choices that the abstract leaves open.

    Attributes:
        ccr, ccs: weights of the constraints in the loss; 0 turns one off.
        ccr_margin, ccs_margin: m; by default the hosts' margin.
        negative: CCR's content: the ``complement`` of the weights, the keys ``below_mean``, the
            ``bottom_k`` of least weight, or ``reverse_softmax``, with a negative temperature.
        relevance: R, the ``cosine``, or the ``dot`` product with the weighted mean.
        detach_values: no gradient of CCR through the keys of the negative content.
        swap: CCS takes a ``random`` query of another pair, the ``hard``-est of its queries, or
            ``keys``: attended content of the other pair with the same query.
        exclude_same_word: a word is never swapped for the same word.
        queries: constrain ``all`` words but start and end, or ``content`` words alone.
        gate_regions: in i2t constrain only the half of the regions of largest relevance.
        direction: constrain ``all`` directions of the host, ``t2i`` or ``i2t``.
        pairs: constrain ``matched`` pairs, or ``all`` pairs of the batch.
        from_epoch: number of epochs without constraints.
    """

    part: ClassVar[str] = "constraints"
    ccr: NotNegative = 0.0
    ccs: NotNegative = 0.0
    ccr_margin: NotNegative = 0.2
    ccs_margin: NotNegative = 0.2
    negative: Annotated[str, name_in(lambda: NEGATIVES)] = "complement"
    bottom_k: Count = 5
    relevance: Annotated[str, name_in(RELEVANCES)] = "cosine"
    detach_values: bool = False
    swap: Annotated[str, name_in(lambda: SWAPS)] = "random"
    exclude_same_word: bool = True
    queries: Annotated[str, name_in(("all", "content"))] = "all"
    gate_regions: bool = False
    direction: Annotated[str, name_in(("all", "t2i", "i2t"))] = "all"
    pairs: Annotated[str, name_in(("matched", "all"))] = "matched"
    from_epoch: Annotated[int, Field(ge=0)] = 0

    @property
    def active(self) -> bool:
        """Whether anything is constrained."""
        return any(getattr(self, name) > 0 for name in CONSTRAINTS)


def check_constraints(settings: ConstraintSettings, *, attention: str, direction: str) -> None:
    """Raise `InputError` where constraints have no effect on a host's attention or direction."""
    if not settings.active:
        return
    if attention == "hard":
        raise InputError(
            "constraints need soft attention",
            found="constraints with hard attention",
            expected="attention=soft: a hard assignment has no gradient",
        )
    if settings.direction != "all" and direction not in ("both", settings.direction):
        raise InputError(
            "there is no attention to constrain in this direction",
            found=f"constraints.direction={settings.direction} and a host of {direction}",
            expected=f"all or {direction}",
        )


@dataclass(frozen=True, eq=False)
class QueryKeyBatch:
    """One direction of matched pairs, queries first: n pairs, Q queries, N keys.

    Attributes:
        weights, dots: ``[n, Q, N]``.
        query: ``[n, Q, D]``; keys ``[n, N, D]`` and their Gram matrix ``[n, N, N]``.
        constrained: ``[n, Q]`` bool, the queries that are constrained.
        real: ``[n, N]`` bool, the keys that are not padding.
        image, caption_image: ``[n]``, the image of each pair, and that of its caption.
        tokens: ``[n, Q]`` ids where words are the queries, else None.
    """

    weights: Tensor
    dots: Tensor
    query: Tensor
    keys: Tensor
    gram: Tensor
    constrained: Tensor
    real: Tensor
    image: Tensor
    caption_image: Tensor
    tokens: Tensor | None

    @classmethod
    def of(
        cls,
        attention: AttentionPass,
        settings: ConstraintSettings,
        tokens: Tensor,
        image: Tensor,
        caption_image: Tensor,
        stop: Tensor | None = None,
    ) -> QueryKeyBatch:
        """Return the direction of a pass of attention on `Matched` pairs."""
        regions, words = attention.pairing.regions, attention.pairing.words
        t2i = attention.key_axis == REGIONS
        queries, keys = (words, regions) if t2i else (regions, words)
        weights, dots = (
            x[:, :, 0] if t2i else x[:, :, 0].mT for x in (attention.weights, attention.dots)
        )
        # a single key has all the attention: there is no negative content
        constrained = queries.mask & (keys.mask.sum(1, keepdim=True) > 1)
        if t2i:
            tokens = tokens[:, : words.vectors.shape[1]]
            # the first and the last are start and end, unless token dropout dropped them
            index = torch.arange(tokens.shape[1])
            inner = (index > 0) & (index < words.lens[:, None] - 1)
            constrained = constrained & inner.to(tokens.device)
            if settings.queries == "content" and stop is not None:
                constrained = constrained & ~torch.isin(tokens, stop.to(tokens.device))
        vectors = (queries.vectors, keys.vectors, keys.gram)
        ids = tokens if t2i else None
        images = (image, caption_image)
        batch = cls(weights, dots, *vectors, constrained, keys.mask, *images, ids)
        if not t2i and settings.gate_regions:
            return replace(batch, constrained=constrained & batch._better_half(regions.mask))
        return batch

    def _better_half(self, real: Tensor) -> Tensor:
        """Return the half ``[n, Q]`` of the real queries, rounded up, of largest relevance."""
        relevance = self.relevance(self.weights).detach().masked_fill(~real, -torch.inf)
        # by rank: a comparison with the median would include it for an even number
        rank = relevance.argsort(dim=1, descending=True, stable=True).argsort(1)
        return rank < (real.sum(1, keepdim=True) + 1) // 2

    def norm(self, weights: Tensor) -> Tensor:
        """Return the length of each weighted sum of the keys, ``[n, Q]``."""
        squared = ((weights @ self.gram) * weights).sum(-1)
        return squared.clamp_min(1e-30).sqrt()  # the root has no gradient at zero

    def relevance(self, weights: Tensor, kind: str = "cosine") -> Tensor:
        """Return the relevance ``[n, Q]`` of each query and its weighted sum of the keys."""
        one_of("relevance", kind, RELEVANCES)
        product = (weights * self.dots).sum(-1)
        if kind == "dot":
            return product / weights.sum(-1).clamp_min(TINY)
        lengths = self.query.norm(dim=-1) * self.norm(weights)
        return product / lengths.clamp_min(TINY)


def constraint_loss(
    passes: Sequence[AttentionPass],
    settings: ConstraintSettings,
    *,
    tokens: Tensor,
    image: Tensor,
    caption_image: Tensor | None = None,
    generator: torch.Generator | None = None,
    stop: Tensor | None = None,
    monitored: dict[str, float] | None = None,
) -> Tensor:
    """Return the weighted constraints of a batch of `Matched` pairs.

    A sum over pairs of the mean over a pair's queries, as the ranking losses are sums over
    pairs; the mean over the directions of a host with two.

    Args:
        passes: the last pass of attention of each direction (`Matcher.attend`).
        tokens: ``[n, L]`` word ids.
        image: ``[n]``, the image of each pair.
        caption_image: ``[n]``, the image to which its caption belongs; by default ``image``.
        generator: draws the swaps.
        stop: ids of words without content, for ``queries=content``.
        monitored: gets values to watch, each a wait for a GPU; by default none is computed.

    Monitored by direction: the fraction of active hinges, the mean gap ``R(q, attended) -
    R(q, negative)`` and the mean entropy of the attention in nats; CCS's are
    ``<direction>_ccs_...``.

    Page: the chapter on the constraints, "Together".
    """
    by_direction = {"t2i" if x.key_axis == REGIONS else "i2t": x for x in passes}
    chosen = {k: x for k, x in by_direction.items() if settings.direction in ("all", k)}
    total = torch.zeros((), device=tokens.device)
    caption_image = image if caption_image is None else caption_image
    for direction, attention in chosen.items():
        batch = QueryKeyBatch.of(attention, settings, tokens, image, caption_image, stop)
        positive = batch.relevance(batch.weights, kind=settings.relevance)
        for name, constraint in CONSTRAINTS.items():
            if not getattr(settings, name):
                continue
            negative, exists = constraint(settings, generator).negative(batch)
            mask = batch.constrained & exists
            hinge = (getattr(settings, f"{name}_margin") + negative - positive).clamp_min(0)
            per_pair = torch.where(mask, hinge, 0.0).sum(1) / mask.sum(1).clamp_min(1)
            total = total + getattr(settings, name) * per_pair.sum()
            if monitored is not None and mask.any():
                values = _monitored(batch, hinge, positive - negative, mask)
                monitored |= {f"{direction}{constraint.suffix}_{k}": v for k, v in values.items()}
    return total / max(len(chosen), 1)


def _monitored(batch: QueryKeyBatch, hinge: Tensor, gap: Tensor, mask: Tensor) -> dict[str, float]:
    w = batch.weights.detach()
    entropy = -(w * w.clamp_min(1e-20).log()).sum(-1)
    return {
        "active": float((hinge.detach() > 0)[mask].float().mean()),
        "gap": float(gap.detach()[mask].mean()),
        "entropy": float(entropy[mask].mean()),
    }


class Constraint(ABC):
    """A hinge on the attention: ``[margin + R(negative) - R(query, attended)]+``.

    Its weight and margin are the settings ``<name>`` and ``<name>_margin``, with its name in
    `CONSTRAINTS`. ``suffix`` is appended to the direction in the names of monitored values.
    """

    suffix = ""

    def __init__(
        self, settings: ConstraintSettings, generator: torch.Generator | None = None
    ) -> None:
        self.settings, self.generator = settings, generator

    @abstractmethod
    def negative(self, batch: QueryKeyBatch) -> tuple[Tensor, Tensor]:
        """Return the relevance ``[n, Q]`` of the negative content, and where there is any."""


def _complement(w: Tensor, real: Tensor, bottom_k: int) -> Tensor:
    return (1 - w) * real


def _below_mean(w: Tensor, real: Tensor, bottom_k: int) -> Tensor:
    return w * ((w < 1 / real.sum(-1, keepdim=True).to(w)) & real)  # a mean of w's precision


def _bottom_k(w: Tensor, real: Tensor, bottom_k: int) -> Tensor:
    rank = w.masked_fill(~real, torch.inf).argsort(-1).argsort(-1)
    return ((rank < bottom_k) & real).to(w)


def _reverse_softmax(w: Tensor, real: Tensor, bottom_k: int) -> Tensor:
    # softmax(-lambda z) is proportional to one over softmax(lambda z)
    return (-w.clamp_min(1e-20).log()).masked_fill(~real, -torch.inf).softmax(-1)


NEGATIVES: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {  # [n, Q, N] of weights
    "complement": _complement,
    "below_mean": _below_mean,
    "bottom_k": _bottom_k,
    "reverse_softmax": _reverse_softmax,
}


class CCR(Constraint):
    """Content re-sourcing: the negative content is what the query did not attend to.

    The complement ``(1 - w) / (N - 1)`` gives ``(sum of all keys - attended) / (N - 1)``; a
    cosine does not depend on the factor.

    Page: the chapter on the constraints, "Content re-sourcing".
    """

    def negative(self, batch: QueryKeyBatch) -> tuple[Tensor, Tensor]:
        """Return the relevance of the negative content, and the queries that have any."""
        negative = registered("constraints.negative", self.settings.negative, NEGATIVES)
        weights = negative(batch.weights, batch.real[:, None], self.settings.bottom_k)
        if self.settings.detach_values:
            dots = batch.query @ batch.keys.detach().mT
            batch = replace(batch, dots=dots, gram=batch.gram.detach())
        return batch.relevance(weights, self.settings.relevance), (weights > 0).any(-1)


def _foreign_keys(batch: QueryKeyBatch, other: Tensor) -> tuple[Tensor, Tensor]:
    dots = (batch.query @ batch.keys[other].mT) @ batch.weights[other].mT
    attended = batch.norm(batch.weights)[other]
    return dots, batch.query.norm(dim=-1)[:, :, None] * attended[:, None]


def _foreign_queries(batch: QueryKeyBatch, other: Tensor) -> tuple[Tensor, Tensor]:
    dots = batch.weights @ (batch.query[other] @ batch.keys.mT).mT
    attended = batch.norm(batch.weights)
    return dots, attended[:, :, None] * batch.query[other].norm(dim=-1)[:, None]


# dot products [n, Q, other's Q] and products of lengths; whether the candidate is drawn
SWAPS: dict[str, tuple[Callable[..., tuple[Tensor, Tensor]], bool]] = {
    "random": (_foreign_queries, True),
    "hard": (_foreign_queries, False),
    "keys": (_foreign_keys, True),
}


class CCS(Constraint):
    """Content swapping: the negative content is a query, or keys, of another pair.

    Page: the chapter on the constraints, "Content swapping".
    """

    suffix = "_ccs"

    def negative(self, batch: QueryKeyBatch) -> tuple[Tensor, Tensor]:
        """Return the relevance of the swapped content of the candidate of highest rank."""
        settings = self.settings
        products, drawn = registered("constraints.swap", settings.swap, SWAPS)
        device = batch.query.device
        of_captions = (batch.tokens is not None) == (settings.swap != "keys")
        image = batch.caption_image if of_captions else batch.image  # of what is swapped
        other, differs = (x.to(device) for x in derangement(image, self.generator))
        dots, lengths = products(batch, other)
        relevance = dots if settings.relevance == "dot" else dots / lengths.clamp_min(TINY)
        candidate = batch.constrained[other][:, None] & differs[:, None, None]
        candidate = candidate.expand_as(relevance)
        if batch.tokens is not None and settings.exclude_same_word:
            candidate = candidate & (batch.tokens[:, :, None] != batch.tokens[other][:, None])
        order = relevance.detach()
        if drawn:
            order = torch.rand(order.shape, generator=self.generator).to(order)
        best = order.masked_fill(~candidate, -torch.inf).argmax(-1, keepdim=True)
        return relevance.gather(-1, best).squeeze(-1), candidate.any(-1)


CONSTRAINTS: dict[str, type[Constraint]] = {"ccr": CCR, "ccs": CCS}


def derangement(image: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Return another pair for each pair, ``[n]``, and where it has another image.

    The next pair of a random cyclic order, so none is its own; of up to eight orders the one with
    the fewest neighbours of the same image.
    """
    count, image = len(image), image.cpu()
    best, differs = torch.arange(count), torch.zeros(count, dtype=torch.bool)
    for _ in range(8 if count > 1 else 0):
        cycle = torch.randperm(count, generator=generator)
        other = torch.empty_like(cycle)
        other[cycle] = cycle.roll(-1)
        other_image = image[other] != image
        if other_image.sum() > differs.sum():
            best, differs = other, other_image
        if differs.all():
            break
    return best, differs
