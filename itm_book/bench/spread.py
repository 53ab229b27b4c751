"""The same recipe and seed trained under several rounding variants, each in its own process.

Rounding differs between processors and thread counts. Training amplifies it: two trainings that
differ in nothing else end in different weights. A *rounding variant* changes only the order or
precision of sums; most variants imitate another processor on this one. Rows are recorded as soon
as they are measured, and recorded trainings are not repeated.

Page: "The same seed on another machine".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from itm_book.bench.isolated import run_isolated
from itm_book.records import rounding
from itm_book.records.commits import require_committed
from itm_core.environment import current_commit
from itm_core.errors import InputError
from itm_core.experiments import recipes
from itm_core.experiments.runs import train_or_load
from itm_core.settings import one_of, seed_of

RECIPES = ("scan-t2i-mean-smoke", "rcar-t2i-smoke", "chan-smoke")
ROOT = Path("data/runs-spread")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A rounding variant.

    Attributes:
        threads: number of torch threads; sums are split among them.
        precision: of weights and features, a value of ``training.precision``.
        environment: variables that choose the code paths of torch (``ATEN_CPU_CAPABILITY``) and of
            its matrix products (``MKL_CBWR``).
    """

    threads: int = 1
    precision: str = "float32"
    environment: Mapping[str, str] = field(default_factory=dict)


VARIANTS: dict[str, Variant] = {
    rounding.REFERENCE: Variant(),
    "2 threads": Variant(threads=2),
    # element-wise operations as on a processor without AVX-512
    "avx2": Variant(environment={"ATEN_CPU_CAPABILITY": "avx2"}),
    # no vector instructions beyond SSE2, in matrix products either
    "sse2": Variant(environment={"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}),
    "float64": Variant(precision="float64"),
}


@dataclass(frozen=True, kw_only=True)
class VariantTraining:
    """One training under one rounding variant.

    Attributes:
        dataset: a folder in the SCAN layout.
        recipe: name of the recipe.
        changes: changes of the recipe, each ``part.key=value``.
        seed: of weights and batches.
        variant: a key of `VARIANTS`.
        root: the run store; each variant has a folder in it.

    Raises `InputError` for an unknown recipe, change or variant.
    """

    dataset: str
    recipe: str
    changes: tuple[str, ...] = ()
    seed: int = 0
    variant: str = rounding.REFERENCE
    root: str = str(ROOT)

    def __post_init__(self) -> None:
        object.__setattr__(self, "changes", tuple(self.changes))  # JSON has lists
        recipes.get(self.recipe).replace(*self.changes)
        one_of("variant", self.variant, VARIANTS)
        seed_of(self.seed)
        if any(change.split("=")[0].strip() == "training.precision" for change in self.changes):
            raise InputError(
                "the precision is set by the variant",
                found="a change of training.precision",
                expected="the variant float64, or one of the others for float32",
            )

    @property
    def key(self) -> tuple[object, ...]:
        """The values of the columns `rounding.KEY` for this training."""
        changes = " ".join(self.changes)
        return Path(self.dataset).name, self.recipe, changes, self.seed, self.variant


def variant_trainings(
    names: Sequence[str],
    seeds: Sequence[int],
    variants: Sequence[str],
    **shared: Any,
) -> list[VariantTraining]:
    """Return the trainings of all recipes, seeds and variants; ``shared`` is common to all.

    Raises `InputError` as `VariantTraining` does.
    """
    return [
        VariantTraining(recipe=recipe, seed=seed, variant=variant, **shared)
        for recipe in dict.fromkeys(names)
        for seed in dict.fromkeys(seeds)
        for variant in dict.fromkeys(variants)
    ]


def train_all(
    trainings: Sequence[VariantTraining], *, record: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the row of each training; each runs in its own process.

    With ``record`` each row is added to the record when its training ends, and trainings that are
    already recorded are skipped. Raises `InputError`, before any training, when rows are to be
    recorded and there are uncommitted changes.
    """
    if record:
        require_committed(current_commit())
        recorded = rounding.keys(rounding.read()) if rounding.RECORD.exists() else set()
        trainings = [training for training in trainings if training.key not in recorded]
    for training in trainings:
        variant = VARIANTS[training.variant]
        row = run_isolated(
            "itm_book.bench.spread",
            asdict(training),
            label=f"{training.recipe}, seed {training.seed}, {training.variant}",
            remedy="run the same command again: finished trainings are kept",
            environment={"OMP_NUM_THREADS": str(variant.threads), **variant.environment},
        )
        if record:
            rounding.save([row])
        yield row


def measure(training: VariantTraining) -> dict[str, Any]:
    """Return the row of a training, columns `rounding.COLUMNS`; call it in a new process.

    Threads and environment variables of the variant must be set for that process.
    """
    variant = VARIANTS[training.variant]
    run = train_or_load(
        training.dataset,
        training.recipe,
        seed=training.seed,
        device="cpu",
        root=Path(training.root) / training.variant.replace(" ", "-"),
        overrides=(*training.changes, f"training.precision={variant.precision}"),
        progress=False,
    )
    environment = run.environment
    return dict(zip(rounding.KEY, training.key, strict=True)) | {
        **{name: float(run.metrics[name]) for name in rounding.NUMBERS},
        "threads": environment["threads"],
        "dtype": variant.precision,
        "minutes": environment["seconds_training"] / 60,
        "machine": environment["device_name"],
        "torch": environment["packages"]["torch"],
        "commit": environment["commit"] or "",
        "made": environment["started"][:10],
    }


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m itm_book.bench.spread")
    parser.add_argument("argument", type=json.loads)
    training = VariantTraining(**parser.parse_args().argument)
    torch.set_num_threads(VARIANTS[training.variant].threads)
    print(json.dumps(measure(training)))


if __name__ == "__main__":
    _main()
