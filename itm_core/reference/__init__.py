"""Reference numbers of the authors' implementations, read into our modules and compared.

A reference file is an ``.npz`` with ``weights/*``, ``inputs/*``, ``outputs/*`` and a JSON
``config``; nothing in it is pickled. Each kind of file has one *checker*, which rebuilds what
the file describes and yields a `Difference` for every number stored in it. A number that no
checker compares is a failure, as is a file that no checker knows: nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from itm_core.errors import InputError
from itm_core.reference import chan
from itm_core.reference.chan_text import check_collate
from itm_core.reference.evaluation import (
    check_ensemble,
    check_evaluation,
    check_tagged_evaluation,
    check_two_models,
)
from itm_core.reference.format import Difference, Report, Stored, read
from itm_core.reference.measures import (
    check_loss,
    check_numbered_losses,
    check_tokens,
    text_checker_of,
)
from itm_core.reference.models import check_model
from itm_core.reference.pfan import check_pfan
from itm_core.reference.pooled import check_gpo, check_pooled
from itm_core.reference.steps import check_chan_steps, check_rcar_steps

DOCUMENTS = {".md", ".rst"}  # prose beside the numbers: nothing to compare
# how the repository's name ends, what the method is called, its family in `models`
MODELS = (
    ("/SCAN$", "SCAN", "scan"),
    ("/BFAN$", "BFAN", "bfan"),
    ("/SGRAF$", "SGRAF", "sgraf"),
    ("/IMRAM$", "IMRAM", "imram"),
)
POOLED = (
    ("/vsepp$", "VSE++", "vsepp"),
    ("/VSRN$", "VSRN", "vsrn"),
    (r"/vse_infty \(branch bigru\)$", "VSE-infinity", "vseinf"),
)
Checker = Callable[[Stored], Iterable[Difference]]


def compare(folder_or_file: Path) -> list[Report]:
    """Return a report for every file below a folder (or for one file), sorted by name.

    Raises `InputError` when there is nothing to compare.
    """
    if not folder_or_file.exists():
        raise InputError("no such file or folder", file=folder_or_file)
    files = [folder_or_file]
    if folder_or_file.is_dir():
        files = sorted(p for p in folder_or_file.rglob("*") if p.is_file())
    files = [p for p in files if p.suffix not in DOCUMENTS and not p.name.startswith(".")]
    if not files:
        raise InputError("no reference files here", file=folder_or_file)
    return [compare_file(path) for path in files]


def compare_file(path: Path) -> Report:
    """Return how our modules compare with one reference file."""
    try:
        if path.suffix == ".npz":
            stored = read(path)
            kind, checker = _checker_of(stored)
            return _complete(stored, kind, list(checker(stored))) if checker else _unknown(path)
        text_kind, found = text_checker_of(path)
        return Report(path, text_kind, list(found)) if text_kind else _unknown(path)
    except InputError as error:
        return Report(path, "reference", problem=str(error))


def _unknown(path: Path) -> Report:
    return Report(path, "unknown", problem="no module of this package knows it", known=False)


def _complete(stored: Stored, kind: str, found: list[Difference]) -> Report:
    left = set(stored.folder("outputs")) - {d.name for d in found}
    problem = f"not compared: {', '.join(sorted(left))}" if left else None
    return Report(stored.path, kind, found, problem)


def _checker_of(stored: Stored) -> tuple[str, Checker | None]:
    keys, repository = set(stored.arrays), str(stored.config.get("repo", ""))
    plain = {key.split("@")[0] for key in keys}
    marks: list[tuple[bool, str, Checker]] = [
        ({"inputs/sims", "outputs/i2t_ranks"} <= plain, "evaluation", check_evaluation),
        ("outputs/rsum_random" in keys, "evaluation", check_tagged_evaluation),
        ("outputs/ensemble/sims" in keys, "evaluation", check_two_models),
        ("outputs/fold_mean" in keys, "evaluation", check_ensemble),
        ("vocab_subset" in stored.config, "tokens", check_tokens),
        ("inputs/scores" in keys, "loss", check_loss),
        ("outputs/bigru/captions" in keys, "CHAN batches", check_collate),
        ("outputs/grad_norms_before_clip" in keys, "training steps", check_chan_steps),
        ("outputs/lse_t0.1" in keys, "CHAN poolings", chan.check_poolings),
        ("outputs/loss/cosine_scale/infonce_t0.1_m0" in keys, "CHAN losses", chan.check_losses),
        ("inputs/img_emb" in keys, "CHAN coding", chan.check_coding),
        ("outputs/final_sims_train" in keys, "training steps", check_rcar_steps),
        ("outputs/pool_weights" in keys, "GPO", check_gpo),
        ({"inputs/sims0", "outputs/loss_hard0"} <= keys, "loss", check_numbered_losses),
    ]
    if stored.folder("weights") and "outputs/sims" in keys:
        marks += [
            (bool(re.search(pattern, repository)), title, check_model(family))
            for pattern, title, family in MODELS
        ]
        marks.append(
            (repository.endswith("/Position-Focused-Attention-Network"), "PFAN", check_pfan)
        )
        marks += [
            (bool(re.search(pattern, repository)), title, check_pooled(family))
            for pattern, title, family in POOLED
        ]
        marks.append((repository.endswith("/CHAN"), "CHAN", chan.check_model))
        marks.append(("self_regulator" in stored.config, "RCAR", check_model("rcar")))
    return next(((kind, check) for fits, kind, check in marks if fits), ("unknown", None))
