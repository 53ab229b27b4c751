"""Reference numbers of hosts with one vector per image and caption, and of GPO."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from itm_book.checkpoints.authors_options import pooled_settings
from itm_book.parity.format import Difference, Stored, gradient_differences, value_difference
from itm_book.parity.models import load, scores_difference, square_of
from itm_book.parity.models import slopes as slopes_of
from itm_core.encoders.fragments import Fragments
from itm_core.encoders.pooling import Gpo
from itm_core.errors import InputError
from itm_core.models import Pooled
from itm_core.models.pairing import AllPairs
from itm_core.training.losses import hinge


def pooled_of(stored: Stored, family: str) -> Pooled:
    """Return the matcher of a file's options and weights; raises `InputError`."""
    c = stored.config
    try:
        encoder, settings, _ = pooled_settings(family, c)
        matcher = Pooled(c["img_dim"], c["vocab_size"], encoder, settings)
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    load(matcher, stored, family)
    return matcher.eval()


def check_pooled(family: str) -> Callable[[Stored], Iterator[Difference]]:
    """Return the checker of a family with one vector per image and caption."""

    def check(stored: Stored) -> Iterator[Difference]:
        matcher = pooled_of(stored, family)
        images = stored.tensor("inputs/images")
        images = images[:, None] if images.ndim == 2 else images  # VSE++ has one vector already
        lens = stored.arrays.get("inputs/image_lengths")
        regions = matcher.regions(images, None if lens is None else torch.from_numpy(lens))
        words = matcher.words(stored.tensor("inputs/captions"), stored.tensor("inputs/lengths"))
        yield from _differences(stored, matcher, regions, words, family)

    return check


def _differences(
    stored: Stored, matcher: Pooled, regions: Fragments, words: Fragments, family: str
) -> Iterator[Difference]:
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    image, caption = square_of(stored)
    square = matcher(AllPairs(regions.take(image), words.take(caption))).T
    margin = stored.config["margin"]
    hard = hinge(square, margin, hardest=True)
    pooled_vectors = [regions.pooled, words.pooled]
    if matcher.settings.absolute:
        pooled_vectors = [None if pooled is None else pooled.abs() for pooled in pooled_vectors]
    ours: dict[str, Tensor | None] = {
        "img_emb": pooled_vectors[0],
        "cap_emb": pooled_vectors[1],
        "gcn_emb": regions.vectors,
        "loss_sum": hinge(square, margin, hardest=False),
        "loss_max": hard,
    }
    for name, value in ours.items():
        if name in theirs and value is not None:
            yield value_difference(name, value.detach(), theirs[name])
    yield scores_difference(matcher, regions, words, theirs["sims"])
    hard.backward()
    gradients = {n[5:]: v for n, v in theirs.items() if n.startswith("grad/")}
    yield from gradient_differences(slopes_of(matcher, gradients, family), gradients)


def check_gpo(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of GPO alone: pooled vectors, weights, codes, gradients."""
    weights = {k: torch.from_numpy(v) for k, v in stored.folder("weights").items()}
    weights = {k.removeprefix("gpool."): v for k, v in weights.items()}
    gpo = Gpo(codes=weights["gru.weight_ih_l0"].shape[1], hidden=weights["linear.weight"].shape[1])
    gpo.load_state_dict(weights)
    features = stored.tensor("inputs/features").requires_grad_()
    lens = stored.tensor("inputs/lengths")
    direction = "inputs/cotangent" if "inputs/cotangent" in stored.arrays else "inputs/projection"
    pooled = gpo(Fragments.of(features, lens))
    loss = (pooled * stored.tensor(direction)).sum()
    loss.backward()
    ours = {
        "pooled": pooled.detach(),
        "pool_weights": gpo.weights(lens, features.shape[1], features)[..., None].detach(),
        "positional_encoding": gpo.codes(features.shape[1]),
        "loss": loss.detach(),
    }
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    for name, value in ours.items():
        if name in theirs:
            yield value_difference(name, value, theirs[name])
    slopes_by_name = {name: p.grad for name, p in gpo.named_parameters()}
    slopes_by_name["features"] = features.grad
    slopes = {n: v for n, v in theirs.items() if n.startswith("grad")}
    plain = {n: n.removeprefix("grad").lstrip("/_").removeprefix("gpool.") for n in slopes}
    found = gradient_differences({n: slopes_by_name.get(plain[n]) for n in slopes}, slopes)
    for difference in found:
        yield Difference(difference.name.removeprefix("grad/"), difference.error, difference.limit)
