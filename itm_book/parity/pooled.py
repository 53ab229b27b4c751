"""Reference numbers of the hosts with one vector a side, and of GPO alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from itm_book.parity.format import Difference, Stored, gradient_differences, value_difference
from itm_book.parity.models import load, scores_difference, square_of
from itm_book.parity.models import slopes as slopes_of
from itm_core.encoders.encoder import EncoderSettings
from itm_core.encoders.fragments import Fragments
from itm_core.encoders.pooling import Gpo
from itm_core.errors import InputError
from itm_core.models import Pooled, PooledSettings
from itm_core.models.pairing import AllPairs
from itm_core.regulators import RegulatorSettings
from itm_core.training.losses import hinge

RAW = {"normalise_regions": False, "normalise_words": False}  # the whole vectors get unit length


def _sizes(c: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "embedding": c["embed_size"],
        "word_width": c["word_dim"],
        "gru_layers": c["num_layers"],
        **RAW,
    }


ENCODERS: dict[str, dict[str, Any]] = {
    "vsepp": {"bidirectional": False, "image_pooling": "mean", "text_pooling": "last"},
    "vsrn": {
        "bidirectional": False,
        "region_encoder": "graph",
        "image_pooling": "gru_norm",
        "text_pooling": "last",
    },
    "vseinf": {"region_encoder": "mlp", "image_pooling": "gpo", "text_pooling": "gpo"},
}


def pooled_settings(
    family: str, c: Mapping[str, Any]
) -> tuple[EncoderSettings, PooledSettings, RegulatorSettings]:
    """Return the settings of a family from its options.

    Raises `InputError` for vectors that do not get unit length, which `pooling` cannot leave out.
    """
    raw = [name for name in ("no_imgnorm", "no_txtnorm") if c.get(name)]
    if raw:
        raise InputError(
            "models without unit length are not supported here",
            found=f"option {raw[0]}",
            expected="whole vectors of unit length",
        )
    encoder = EncoderSettings(**_sizes(c), **ENCODERS[family])
    if family == "vsrn" and c["data_name"] != "f30k_precomp":
        encoder = encoder.replace(region_encoder="graph_coco", image_pooling="gru")
    settings = PooledSettings(measure=c.get("measure", "cosine"), absolute=c.get("use_abs", False))
    return encoder, settings, RegulatorSettings()


def pooled_of(stored: Stored, family: str) -> Pooled:
    """Return the matcher that a file describes, with its weights; raises `InputError`."""
    c = stored.config
    try:
        encoder, settings, _ = pooled_settings(family, c)
        matcher = Pooled(c["img_dim"], c["vocab_size"], encoder, settings)
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    load(matcher, stored, family)
    return matcher.eval()


def check_pooled(family: str) -> Callable[[Stored], Iterator[Difference]]:
    """Return the checker of a family of models with one vector a side."""

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
    wholes = [regions.pooled, words.pooled]
    if matcher.settings.absolute:
        wholes = [None if whole is None else whole.abs() for whole in wholes]
    ours: dict[str, Tensor | None] = {
        "img_emb": wholes[0],
        "cap_emb": wholes[1],
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
