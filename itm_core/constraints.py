"""A reading of CCR and CCS: contrastive constraints on the attention, while training.

Chen, Yuan, Zhao, Chen, Luo, Davis, Metaxas, *More Than Just Attention: Improving Cross-Modal
Attentions with Contrastive Constraints for Image-Text Matching*, WACV 2023. **Only the title and
the abstract could be read.** What stands here is a reading of them, not a report: every question
that the paper's body would answer is a setting.

* *Content re-sourcing* (CCR): a query must agree more with what it attended to than with what it
  passed over: ``[m + R(q, passed over) - R(q, attended)]+``.
* *Content swapping* (CCS): what a query attended to must suit it better than it suits a query of
  another pair: ``[m + R(q', attended) - R(q, attended)]+``.

Everything follows from dot products and Gram matrices; no content vector is formed. With weights
w, dot products s and Gram matrix G, ``R(q, sum w_j k_j) = w.s / (|q| sqrt(w'Gw))``.

Page: the chapter on the constraints, "The method, as we read it".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from itm_core.encoders.fragments import TINY
from itm_core.errors import InputError
from itm_core.models.matcher import AttentionPass
from itm_core.models.pairing import REGIONS
from itm_core.settings import Count, NotNegative, Settings, name_in, one_of, registered

RELEVANCES = ("cosine", "dot")
QUERIES = ("all", "content")
PAIRS = ("matched", "all")


class ConstraintSettings(Settings):
    """The open questions of the paper, each with our stand-in as its default.

    Attributes:
        ccr, ccs: weights of the two constraints beside the ranking loss; 0 turns one off.
        ccr_margin, ccs_margin: by how much the attended content must win; the hosts' margin.
        negative: CCR's content: the ``complement`` of the weights, the keys ``below_mean``, the
            ``bottom_k`` keys, or ``reverse_softmax``, which turns the attention upside down.
        bottom_k: how many keys that takes.
        relevance: R, the ``cosine``, or the plain ``dot`` product with the weighted mean.
        detach_values: keep CCR's gradient out of the keys of the negative content.
        swap: CCS's foreign query: a ``random`` one of another pair, its ``hard``-est, or, the
            other way round, foreign ``keys`` under the same query.
        exclude_same_word: a word is never swapped for the same word.
        queries: which words ask: ``all`` but start and end, or ``content`` words alone.
        gate_regions: where regions ask, only the half that agrees best with what it saw.
        direction: ``all`` directions that the host attends in, ``t2i`` or ``i2t``.
        pairs: constrain ``matched`` pairs, or ``all`` pairs of the batch.
        from_epoch: epochs trained without constraints before.
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
    queries: Annotated[str, name_in(QUERIES)] = "all"
    gate_regions: bool = False
    direction: Annotated[str, name_in(("all", "t2i", "i2t"))] = "all"
    pairs: Annotated[str, name_in(PAIRS)] = "matched"
    from_epoch: Annotated[int, Field(ge=0)] = 0

    @property
    def active(self) -> bool:
        """Whether anything is constrained."""
        return self.ccr > 0 or self.ccs > 0


def check_constraints(settings: ConstraintSettings, *, attention: str, direction: str) -> None:
    """Raise `InputError` where the constraints would do nothing to a host.

    The other arguments are the host's (`AttendingSettings`). A run whose constraint is idle is
    its baseline under another name.
    """
    if not settings.active:
        return
    if attention == "hard":
        raise InputError(
            "the constraints shape soft attention",
            found="ccr or ccs with hard attention",
            expected="a choice of one fragment has no gradient",
        )
    if settings.direction != "all" and direction not in ("both", settings.direction):
        raise InputError(
            "there is no attention to constrain in this direction",
            found=f"constraints.direction={settings.direction} for a host that attends {direction}",
            expected=f"all or {direction}",
        )


@dataclass(frozen=True, eq=False)
class QueryKeyBatch:
    """One direction of matched pairs, queries first: n pairs, Q queries, N keys.

    Attributes:
        weights, dots: ``[n, Q, N]``.
        query: ``[n, Q, D]``; keys ``[n, N, D]`` and their Gram matrix ``[n, N, N]``.
        asks: ``[n, Q]`` bool, the queries that count.
        real: ``[n, N]`` bool, the keys that are no padding.
        tokens: ``[n, Q]`` ids where words ask, else None.
    """

    weights: Tensor
    dots: Tensor
    query: Tensor
    keys: Tensor
    gram: Tensor
    asks: Tensor
    real: Tensor
    tokens: Tensor | None

    @classmethod
    def of(
        cls,
        seen: AttentionPass,
        settings: ConstraintSettings,
        tokens: Tensor,
        stop: Tensor | None = None,
    ) -> QueryKeyBatch:
        """Return the direction that ``seen`` (on `Matched` pairs) made."""
        regions, words = seen.pairing.regions, seen.pairing.words
        words_ask = seen.axis == REGIONS
        asking, asked = (words, regions) if words_ask else (regions, words)
        weights, dots = (
            x[:, :, 0] if words_ask else x[:, :, 0].mT for x in (seen.weights, seen.dots)
        )
        tokens = tokens[:, : words.vectors.shape[1]]
        places = torch.arange(tokens.shape[1])  # start and end are the first and the last
        counts = ((places > 0) & (places < words.lens[:, None] - 1)).to(tokens.device)
        if settings.queries == "content" and stop is not None:
            counts = counts & ~torch.isin(tokens, stop.to(tokens.device))
        found = cls(
            weights,
            dots,
            asking.vectors,
            asked.vectors,
            asked.gram,
            counts if words_ask else regions.mask,
            asked.mask,
            tokens if words_ask else None,
        )
        if not words_ask and settings.gate_regions:
            found = found._with(found.asks & found._better_half())
        # with a single key nothing can be passed over
        return found._with(found.asks & (found.real.sum(1, keepdim=True) > 1))

    def _better_half(self) -> Tensor:
        """Return the half ``[n, Q]`` of the queries, rounded up, that agree best."""
        agree = self.relevance(self.weights).detach().masked_fill(~self.asks, -torch.inf)
        # a rank, not a comparison with the median, which an even number would keep as well
        rank = agree.argsort(dim=1, descending=True, stable=True).argsort(1)
        return rank < (self.asks.sum(1, keepdim=True) + 1) // 2

    def _with(self, asks: Tensor) -> QueryKeyBatch:
        return QueryKeyBatch(**{**vars(self), "asks": asks})

    def norm(self, weights: Tensor) -> Tensor:
        """Return the length of each weighted sum of the keys, ``[n, Q]``."""
        squared = ((weights @ self.gram) * weights).sum(-1)
        return squared.clamp_min(1e-30).sqrt()  # the root has no slope at zero

    def relevance(
        self, weights: Tensor, dots: Tensor | None = None, kind: str = "cosine"
    ) -> Tensor:
        """Return how well each query agrees with its weighted sum of the keys, ``[n, Q]``."""
        one_of("relevance", kind, RELEVANCES)
        towards = (weights * (self.dots if dots is None else dots)).sum(-1)
        if kind == "dot":
            return towards / weights.sum(-1).clamp_min(TINY)
        lengths = self.query.norm(dim=-1) * self.norm(weights)
        return towards / lengths.clamp_min(TINY)


def constraint_loss(
    seens: Sequence[AttentionPass],
    settings: ConstraintSettings,
    *,
    tokens: Tensor,
    image: Tensor,
    generator: torch.Generator | None = None,
    stop: Tensor | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted constraints of a batch of `Matched` pairs, and what to watch.

    A sum over pairs of the mean over a pair's queries, as the ranking losses are sums over
    pairs; the directions of a host that has two are averaged.

    Args:
        seens: the last pass of attention of each direction (`Matcher.attend`).
        tokens: ``[n, L]`` word ids. image: ``[n]`` whose image each is.
        generator: draws the swaps.
        stop: ids of words without content, for ``queries=content``.

    Watched, by direction: the share of active hinges, the mean gap ``R(q, attended) - R(q, passed
    over)`` and the mean entropy of the attention in nats; for CCS, as ``<direction>_ccs_...``, the
    gap to the foreign query or keys.

    Page: the chapter on the constraints, "Together".
    """
    chosen = [seen for seen in seens if settings.direction in ("all", _name(seen))]
    total = torch.zeros((), device=tokens.device)
    watched: dict[str, float] = {}
    for seen in chosen:
        asked = QueryKeyBatch.of(seen, settings, tokens, stop)
        positive = asked.relevance(asked.weights, kind=settings.relevance)
        if settings.ccr:
            negative, there = passed_over(asked, settings)
            hinge = (settings.ccr_margin + negative - positive).clamp_min(0)
            total = total + settings.ccr * _per_pair(hinge, asked.asks & there)
            watched |= _watch(_name(seen), hinge, positive - negative, asked, asked.asks & there)
        if settings.ccs:
            foreign, there = swapped(asked, settings, image, generator)
            hinge = (settings.ccs_margin + foreign - positive).clamp_min(0)
            total = total + settings.ccs * _per_pair(hinge, asked.asks & there)
            gap, name = positive - foreign, f"{_name(seen)}_ccs"
            watched |= _watch(name, hinge, gap, asked, asked.asks & there)
    return total / max(len(chosen), 1), watched


def _name(seen: AttentionPass) -> str:
    return "t2i" if seen.axis == REGIONS else "i2t"


def _per_pair(hinge: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over pairs of the mean over a pair's queries; pairs without any add 0."""
    counted = torch.where(mask, hinge, 0.0)
    return (counted.sum(1) / mask.sum(1).clamp_min(1)).sum()


def _complement(w: Tensor, real: Tensor, bottom_k: int) -> Tensor:
    return (1 - w) * real


def _below_mean(w: Tensor, real: Tensor, bottom_k: int) -> Tensor:
    return w * ((w < 1 / real.sum(-1, keepdim=True)) & real)


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


def passed_over(asked: QueryKeyBatch, settings: ConstraintSettings) -> tuple[Tensor, Tensor]:
    """Return CCR's relevance ``[n, Q]`` of the content passed over, and where there is any.

    The complement ``(1 - w) / (N - 1)`` is ``(sum of all keys - attended) / (N - 1)``; a cosine
    does not see the factor.

    Page: the chapter on the constraints, "Content re-sourcing".
    """
    negative = registered("constraints.negative", settings.negative, NEGATIVES)
    weights = negative(asked.weights, asked.real[:, None], settings.bottom_k)
    dots = asked.dots
    if settings.detach_values:
        dots = asked.query @ asked.keys.detach().mT
        asked = QueryKeyBatch(**{**vars(asked), "gram": asked.gram.detach()})
    return asked.relevance(weights, dots, settings.relevance), (weights > 0).any(-1)


class Swap(NamedTuple):
    """How CCS swaps: what meets what, and which of the foreign queries or keys is taken.

    ``meet`` returns dot products ``[n, Q, other's Q]`` and the products of the two lengths;
    ``prefer`` orders the candidates by their relevance of that shape, the largest first.
    """

    meet: Callable[[QueryKeyBatch, Tensor], tuple[Tensor, Tensor]]
    prefer: Callable[[Tensor, torch.Generator | None], Tensor]


def _foreign_keys(asked: QueryKeyBatch, other: Tensor) -> tuple[Tensor, Tensor]:
    """What a query of the other pair attended to, under the same query."""
    towards = (asked.query @ asked.keys[other].mT) @ asked.weights[other].mT
    of_sum = asked.norm(asked.weights)[other]
    return towards, asked.query.norm(dim=-1)[:, :, None] * of_sum[:, None]


def _foreign_queries(asked: QueryKeyBatch, other: Tensor) -> tuple[Tensor, Tensor]:
    """What a query attended to, under a query of the other pair."""
    towards = asked.weights @ (asked.query[other] @ asked.keys.mT).mT
    of_sum = asked.norm(asked.weights)
    return towards, of_sum[:, :, None] * asked.query[other].norm(dim=-1)[:, None]


def _drawn(relevance: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.rand(relevance.shape, generator=generator).to(relevance)


def _hardest(relevance: Tensor, generator: torch.Generator | None) -> Tensor:
    return relevance.detach()


SWAPS: dict[str, Swap] = {
    "random": Swap(_foreign_queries, _drawn),
    "hard": Swap(_foreign_queries, _hardest),
    "keys": Swap(_foreign_keys, _drawn),
}


def swapped(
    asked: QueryKeyBatch,
    settings: ConstraintSettings,
    image: Tensor,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Return CCS's relevance ``[n, Q]`` of a foreign query or keys, and where there is one.

    Page: the chapter on the constraints, "Content swapping".
    """
    swap = registered("constraints.swap", settings.swap, SWAPS)
    other, apart = derangement(image, generator)
    other = other.to(asked.query.device)
    towards, lengths = swap.meet(asked, other)
    relevance = towards if settings.relevance == "dot" else towards / lengths.clamp_min(TINY)
    candidate = asked.asks[other][:, None] & apart.to(other.device)[:, None, None]
    candidate = candidate.expand_as(relevance)
    if asked.tokens is not None and settings.exclude_same_word:
        candidate = candidate & (asked.tokens[:, :, None] != asked.tokens[other][:, None])
    order = swap.prefer(relevance, generator)
    place = order.masked_fill(~candidate, -torch.inf).argmax(-1, keepdim=True)
    return relevance.gather(-1, place).squeeze(-1), candidate.any(-1)


def derangement(image: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Return another pair for each pair, ``[n]``, and where it shows another image.

    All pairs are put on a random ring and each takes the next one, so none gets itself. Of a few
    rings the one with the fewest neighbours from the same image is taken.
    """
    count, image = len(image), image.cpu()
    best, apart = torch.arange(count), torch.zeros(count, dtype=torch.bool)
    for _ in range(8 if count > 1 else 0):
        ring = torch.randperm(count, generator=generator)
        other = torch.empty_like(ring)
        other[ring] = ring.roll(-1)
        found = image[other] != image
        if found.sum() > apart.sum():
            best, apart = other, found
        if apart.all():
            break
    return best, apart


def _watch(
    name: str, hinge: Tensor, gap: Tensor, asked: QueryKeyBatch, mask: Tensor
) -> dict[str, float]:
    if not mask.any():
        return {}
    w = asked.weights.detach()
    entropy = -(w * w.clamp_min(1e-20).log()).sum(-1)
    return {
        f"{name}_active": float((hinge.detach() > 0)[mask].float().mean()),
        f"{name}_gap": float(gap.detach()[mask].mean()),
        f"{name}_entropy": float(entropy[mask].mean()),
    }
