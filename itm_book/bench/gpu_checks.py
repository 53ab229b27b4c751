"""Whether a GPU gives the numbers of a CPU: a short training, its scores, TF32's effect on ranks.

``python -m itm_book.bench.gpu_checks '["cuda", FOLDER]'`` prints a check a line, as JSON.

Page: "What it costs".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from itm_book.bench.isolated import peak_bytes
from itm_book.scenes.generate import make_scenes
from itm_core.data.dataset import Dataset, load_dataset
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments.prepare import encode, features_of
from itm_core.experiments.run import Run
from itm_core.experiments.runs import train_or_load

RECIPE = "scan-t2i-mean-smoke"
CHANGES = ("training.epochs=2",)
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Check:
    """A number that may be at most ``limit``."""

    check: str
    measured: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the number is a number, and within its limit."""
        return self.measured <= self.limit

    @property
    def missed_by(self) -> str:
        """By which factor the limit is missed, for display; empty where it is met."""
        return "" if self.met else f"{self.measured / self.limit:.2f} x the limit"

    def line(self) -> str:
        """Return the check as one line of text."""
        missed = f"; missed: {self.missed_by}" if self.missed_by else ""
        return f"{self.check}: {self.measured:.3g} (at most {self.limit:g}){missed}"


def checks(
    device: str, dataset: Dataset, root: Path, *, changes: Sequence[str] = CHANGES
) -> Iterator[Check]:
    """Yield what a device changes against the CPU; both train the same run below ``root``.

    Losses of two orders of summation drift apart, so that limits are wide. The scores of one
    matcher must agree on both, and TF32 may move few ranks.
    """
    there, here = (
        train_or_load(
            dataset, RECIPE, root=root / name, device=name, overrides=changes, progress=False
        )
        for name in (device, "cpu")
    )
    losses = [run.curve["loss"].to_numpy() for run in (there, here)]
    drift = float(np.max(np.abs(losses[0] / losses[1] - 1)))
    yield Check(check="training loss, largest relative difference", measured=drift, limit=0.02)
    gap = abs(there.metrics["rsum"] - here.metrics["rsum"])
    yield Check(check="rSum after training, difference", measured=gap, limit=15.0)
    plain, fast, cpu = (
        _scores(here, dataset, at, precision)
        for at, precision in ((device, "float32"), (device, "tf32"), ("cpu", "float32"))
    )
    error = float(np.abs(plain - cpu).max() / np.abs(cpu).max())
    yield Check(check="scores, largest relative difference", measured=error, limit=1e-4)
    images = dataset.test.caption_image
    before, after = (retrieval.ranks(scores, images) for scores in (plain, fast))
    for side in ("i2t", "t2i"):
        a, b = (getattr(ranks, side) for ranks in (before, after))
        moved, first = (
            100 * float((a != b).mean()),
            100 * abs(float((a < 1).mean() - (b < 1).mean())),
        )
        yield Check(check=f"ranks that TF32 moves, {side} (%)", measured=moved, limit=5.0)
        yield Check(check=f"R@1 that TF32 changes, {side}", measured=first, limit=1.0)
    peak = peak_bytes(torch.device(device)) / GIB
    yield Check(check="peak memory of the short training (GiB)", measured=peak, limit=8.0)


def _scores(run: Run, dataset: Dataset, device: str, precision: str) -> np.ndarray:
    """Return the scores of the test split by one matcher on a device."""
    features = features_of(dataset.test, run.recipe)
    captions = encode(dataset.test, run.vocabulary)
    return score_matrix(run.matcher(device), features, captions, precision=precision)


def _main(device: str, folder: str) -> None:
    """Print the checks on a device, with data and runs below a folder."""
    data = make_scenes(Path(folder) / "scenes-tiny", preset="tiny", progress=False)
    for check in checks(device, load_dataset(data), Path(folder) / "runs"):
        print(json.dumps(asdict(check)), flush=True)


if __name__ == "__main__":
    _main(*json.loads(sys.argv[1]))
