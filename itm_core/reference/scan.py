"""SCAN's reference numbers: embeddings, scores, losses and gradients of whole models."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from itm_core.encoders import EncoderSettings
from itm_core.errors import InputError
from itm_core.losses import hinge
from itm_core.matchers import Matcher, Scan, ScanSettings
from itm_core.pairing import AllPairs
from itm_core.reference.format import (
    Difference,
    Stored,
    gradient_differences,
    value_difference,
)
from itm_core.scoring import score_fragments

AGGREGATION_NAMES = {"LogSumExp": "LSE", "Mean": "mean", "Max": "max", "Sum": "sum"}
WEIGHT_NAMES = (  # the release's names -> ours
    ("img_enc.", "regions."),
    ("txt_enc.", "words."),
    ("fc.weight_g", "fc.parametrizations.weight.original0"),
    ("fc.weight_v", "fc.parametrizations.weight.original1"),
)


def our_name(theirs: str) -> str:
    """Return our name of a parameter of the release.

    >>> our_name("img_enc.fc.weight")
    'regions.fc.weight'
    """
    for old, new in WEIGHT_NAMES:
        theirs = theirs.replace(old, new)
    return theirs


def scan_of(stored: Stored) -> Matcher:
    """Return SCAN as the file's ``config`` describes it, with its weights.

    Raises `InputError` for an option or a weight that our SCAN does not have.
    """
    c = stored.config
    try:
        encoder = EncoderSettings(
            embedding=c["embed_size"],
            word_width=c["word_dim"],
            gru_layers=c["num_layers"],
            bidirectional=c["bi_gru"],
            normalise_regions=not c["no_imgnorm"],
            normalise_words=not c["no_txtnorm"],
            weight_norm={"basic": False, "weight_norm": True}[c["precomp_enc_type"]],
        )
        settings = ScanSettings(
            direction=c["cross_attn"],
            normalisation=c["raw_feature_norm"],
            attention_temperature=c["lambda_softmax"],
            aggregation=AGGREGATION_NAMES[c["agg_func"]],
            lse_temperature=c["lambda_lse"],
        )
        matcher = Scan(c["img_dim"], c["vocab_size"], encoder, settings)
        weights = stored.folder("weights")
        matcher.load_state_dict({our_name(k): torch.from_numpy(v) for k, v in weights.items()})
    except KeyError as error:
        raise InputError("unknown or missing option", file=stored.path, found=error) from None
    except RuntimeError as error:
        raise InputError("weights do not fit", file=stored.path, found=error) from None
    return matcher.eval()


def check_scan(stored: Stored) -> Iterator[Difference]:
    """Yield the differences of a SCAN model: embeddings, scores, losses, gradients.

    Scores are computed twice, as in training and in tiles as in evaluation; the worse counts.
    """
    matcher = scan_of(stored)
    regions = matcher.regions(stored.tensor("inputs/images"))
    words = matcher.words(stored.tensor("inputs/captions"), stored.tensor("inputs/lengths"))
    theirs = {name: torch.from_numpy(v) for name, v in stored.folder("outputs").items()}
    tiled = score_fragments(matcher, [regions.detach()], words.detach())
    trained = matcher(AllPairs(regions, words)).T
    image, caption = (stored.tensor(f"inputs/sub_{k}_index") for k in ("image", "caption"))
    square = matcher(AllPairs(regions.take(image), words.take(caption))).T
    margin = stored.config["margin"]
    ours = {
        "img_emb": regions.vectors,
        "cap_emb": words.vectors,
        "cap_len": words.lens,
        "loss_sum": hinge(square, margin, hardest=False),
        "loss_max": hinge(square, margin, hardest=True),
    }
    for name in ours.keys() & theirs.keys():
        yield value_difference(name, ours[name].detach(), theirs[name])
    sims = [value_difference("sims", s.detach(), theirs["sims"]) for s in (tiled, trained)]
    yield max(sims, key=lambda d: (d.error != d.error, d.error))
    ours["loss_max"].backward()
    # a parameter that takes no part has no gradient here and zeros in the file
    slopes = {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in matcher.named_parameters()
    }
    gradients = {n[5:]: v for n, v in theirs.items() if n.startswith("grad/")}
    yield from gradient_differences({n: slopes.get(our_name(n)) for n in gradients}, gradients)
