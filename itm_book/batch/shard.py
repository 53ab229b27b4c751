"""One shard of a scoring job: some images of a gallery against all captions.

``python -m itm_book.batch.shard CELLS.json SHARD`` is what `engine` starts for every shard, on this
machine or on a node of a cluster; `score_job` plans them. A shard is a block of the score matrix,
or lists of the best K in both directions; its file is written atomically.

Page: "Batches", "A large gallery".
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from itm_book.batch import top_lists
from itm_book.batch.experiment import claim_gpu
from itm_book.checkpoints.imported_runs import load_members
from itm_book.datasets.run_features import run_features
from itm_core.data.dataset import Split, load_split
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_blocks
from itm_core.experiments.prepare import encode
from itm_core.experiments.run import Run
from itm_core.experiments.run_folder import ERROR
from itm_core.files import whole_file
from itm_core.json_files import read_json
from itm_core.parallel import end_with_parent

Blocks = Iterable[tuple[slice, np.ndarray, np.ndarray]]  # images, captions, and their scores


def score_shard(place: Path, rows: slice, job: Mapping[str, Any]) -> None:
    """Write the shard of the images ``rows`` to ``place``, unless the file exists.

    ``job`` is what `score_job.ScoreJob.content` returns.
    """
    if place.exists():
        return
    split = load_split(job["dataset"], job["split"])
    vocabulary = None if job["vocabulary"] is None else Path(job["vocabulary"])
    members = load_members(job["runs"], dataset=job["dataset"], vocabulary=vocabulary)
    scored = (_blocks(run, split, rows, job["device"]) for run in members)
    with whole_file(place) as partial, partial.open("wb") as file:
        if job["top"]:
            np.savez(file, allow_pickle=False, **_lists(next(scored), split, rows, job["top"]))
        else:
            each = (_block(blocks, len(split.captions), rows) for blocks in scored)
            np.save(file, retrieval.ensemble(each).astype(np.float32))


def _blocks(run: Run, split: Split, rows: slice, device: str) -> Blocks:
    return score_blocks(
        run.matcher(device),
        run_features(run, split),
        encode(split, run.vocabulary),
        rows=rows,
    )


def _block(blocks: Blocks, captions: int, rows: slice) -> np.ndarray:
    scores = np.empty((rows.stop - rows.start, captions), np.float32)
    for images, chosen, block in blocks:
        scores[images.start - rows.start : images.stop - rows.start, chosen] = block
    return scores


def _lists(blocks: Blocks, split: Split, rows: slice, count: int) -> dict[str, np.ndarray]:
    """Return the best ``count`` captions of each image, and the best images of each caption."""
    i2t = [np.empty(0, np.int64)] * (rows.stop - rows.start)
    t2i = [np.empty(0, np.int64)] * len(split.captions)
    for run, chosen, block in blocks:
        images = np.arange(run.start, run.stop)
        right = split.caption_image[chosen] == images[:, None]
        _join(i2t, images - rows.start, top_lists.entries(block, chosen, right), count)
        _join(t2i, chosen, top_lists.entries(block.T, images, right.T), count)
    return {"i2t": np.array(i2t), "t2i": np.array(t2i)}


def _join(lists: list[np.ndarray], places: np.ndarray, entries: np.ndarray, count: int) -> None:
    """Merge new entries into the lists of some queries, and keep the best."""
    previous = np.stack([lists[place] for place in places])
    best = top_lists.best(np.concatenate([previous, entries], 1), count)
    for place, row in zip(places, best, strict=True):
        lists[place] = row


def main(arguments: Sequence[str] | None = None) -> int:
    """Score one shard of the JSON that `engine` wrote; return 0, or 1 when it failed."""
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m itm_book.batch.shard")
    parser.add_argument("cells", type=Path)
    parser.add_argument("shard", help="the name of its file")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    job = read_json(options.cells)
    place = Path(job["out"], options.shard)
    torch.set_num_threads(options.threads)
    try:
        with claim_gpu(job["gpus"]):
            score_shard(place, slice(*job["cells"][options.shard]), job)
    except Exception as error:
        lines = traceback.format_exception(error)
        place.with_suffix(f".{ERROR}").write_text("".join(lines), encoding="utf-8")
        print(lines[-1], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
