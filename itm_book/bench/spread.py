"""The same recipe and seed trained under several rounding variants, a process for each.

Rounding differs between processors and thread counts. Training amplifies it: two trainings that
differ in nothing else end in different weights. A *rounding variant* changes how sums are made and
nothing else; most of them imitate another processor on this one. Rows are recorded as they are
made, and rows that are recorded are not made again.

Page: "Why is my number lower?".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from itm_book.bench import alone
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
    """One way of rounding.

    Attributes:
        threads: of torch; sums are split among them.
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
class Asked:
    """One training: what, and under which rounding.

    Attributes:
        dataset: a folder in the SCAN layout.
        recipe: its name.
        changes: of the recipe, each ``part.key=value``.
        seed: of weights and batches.
        variant: a key of `VARIANTS`.
        root: the run store; a variant has a folder of its own in it.

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
                "the variant decides the precision",
                found="a change of training.precision",
                expected="the variant float64, or one of the others for float32",
            )

    @property
    def key(self) -> tuple[object, ...]:
        """What `rounding.KEY` says of this training."""
        changes = " ".join(self.changes)
        return Path(self.dataset).name, self.recipe, changes, self.seed, self.variant


def asked_for(
    names: Sequence[str],
    seeds: Sequence[int],
    variants: Sequence[str],
    **same: Any,
) -> list[Asked]:
    """Return the trainings of all recipes, seeds and variants; ``same`` is common to all.

    Raises `InputError` as `Asked` does.
    """
    return [
        Asked(recipe=recipe, seed=seed, variant=variant, **same)
        for recipe in dict.fromkeys(names)
        for seed in dict.fromkeys(seeds)
        for variant in dict.fromkeys(variants)
    ]


def train_all(asked: Sequence[Asked], *, record: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the row of each training, one after the other, in processes of their own.

    With ``record`` each is added to the record as it comes, and those that are there are left out.
    Raises `InputError` for a record from a tree with uncommitted changes, before any training.
    """
    if record:
        require_committed(current_commit())
        known = rounding.keys(rounding.read()) if rounding.RECORD.exists() else set()
        asked = [one for one in asked if one.key not in known]
    for one in asked:
        variant = VARIANTS[one.variant]
        row = alone.answer(
            "itm_book.bench.spread",
            asdict(one),
            what=f"{one.recipe}, seed {one.seed}, {one.variant}",
            remedy="run the same command again: what was finished is kept",
            environment={"OMP_NUM_THREADS": str(variant.threads), **variant.environment},
        )
        if record:
            rounding.save([row])
        yield row


def measure(asked: Asked) -> dict[str, Any]:
    """Return the row of a training, columns `rounding.COLUMNS`; for a process of its own.

    The threads and the environment are those of the process.
    """
    variant = VARIANTS[asked.variant]
    run = train_or_load(
        asked.dataset,
        asked.recipe,
        seed=asked.seed,
        device="cpu",
        root=Path(asked.root) / asked.variant.replace(" ", "-"),
        overrides=(*asked.changes, f"training.precision={variant.precision}"),
        progress=False,
    )
    made = run.environment
    return dict(zip(rounding.KEY, asked.key, strict=True)) | {
        **{name: float(run.metrics[name]) for name in rounding.NUMBERS},
        "threads": made["threads"],
        "dtype": variant.precision,
        "minutes": made["seconds_training"] / 60,
        "machine": made["device_name"],
        "torch": made["packages"]["torch"],
        "commit": made["commit"] or "",
        "made": made["started"][:10],
    }


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m itm_book.bench.spread")
    parser.add_argument("asked", type=json.loads)
    asked = Asked(**parser.parse_args().asked)
    torch.set_num_threads(VARIANTS[asked.variant].threads)
    print(json.dumps(measure(asked)))


if __name__ == "__main__":
    _main()
