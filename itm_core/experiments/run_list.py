"""The list of the finished runs, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itm_core.errors import escaped
from itm_core.experiments.run_folder import COMPLETE, RunFolder

HEAD = "  rSum  i2t R@1  t2i R@1  folder (dataset/recipe/seed-hash); in %, of the test split"


@dataclass(frozen=True)
class Listed:
    """What `listed` found: a head and a line for each run, how many, and how many are damaged."""

    lines: list[str]
    count: int
    damaged: int


def listed(root: Path) -> Listed:
    """Return every finished run below a store, sorted by folder."""
    runs = [RunFolder(path.parent) for path in sorted(root.glob(f"*/*/*/{COMPLETE}"))]
    if not runs:
        return Listed([f"no finished run in {escaped(root)}; itm train makes one"], 0, 0)
    damages = [run.damage for run in runs]
    lines = [HEAD]
    for run, damage in zip(runs, damages, strict=True):
        if damage:
            lines.append(f"{'damaged':>6}{'':17} {escaped(run.folder)}: {damage}")
            continue
        numbers = (run.metrics[name] for name in ("rsum", "i2t_r1", "t2i_r1"))
        lines.append("{:6.1f}  {:7.1f}  {:7.1f}  ".format(*numbers) + escaped(run.folder))
        if run.words_found:
            lines.append(f"{'':26}word vectors: {escaped(run.words_found)}")
    return Listed(lines, len(runs), sum(map(bool, damages)))
