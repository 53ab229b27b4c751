"""Every command of ``itm`` and every reader, with the files that it reads in `tests.attack.place`.

`tests.attack.test_files` fails for a command of ``itm`` that is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attack.place import OVERRIDES, TRAIN

DATA = "data/micro/*"
RUN = ("run/config.json", "run/best.safetensors", "run/vocabulary.json")
TINY = "--size tiny --data data --root runs"
CONVERT = "data convert"

# what is left out makes a book with all notebooks, or starts processes that import everything
LEFT_OUT = {"book", "scenes", "bench search", "lab", "completion"}  # long, or read no file
# a command that is valid in the folder, and the files of it that are made wrong
COMMANDS: dict[str, tuple[str, ...]] = {
    f"{TRAIN} --dataset data/micro --root new {' '.join(OVERRIDES)}": (DATA,),
    f"{TRAIN} --dataset data/micro --root runs {' '.join(OVERRIDES)}": ("runs/*/*/*/*.*",),
    f"{TRAIN} --dataset data/micro --root new {' '.join(OVERRIDES)} --set encoder.word_vectors="
    "words.vec": ("words.vec",),
    "check data/micro": (DATA,),
    "check data/micro --full": (DATA,),
    "recipes": (),
    "runs --root runs": ("runs/*/*/*/*.*",),
    "score run data/micro --out scores --device cpu": (DATA, *RUN),
    "score imported data/wide --out scores --device cpu --vocabulary words.json": ("words.json",),
    "grid grid.yml --size tiny --dry-run": ("grid.yml", DATA),
    "grid grid.yml --size tiny --dry-run --profile profile": ("profile/config.yaml",),
    f"results export grid.yml {TINY} --record records/runs.csv": (
        "records/runs.csv",
        "records/curves.csv",
        "runs/*/*/*/*.*",
        "grid.yml",
    ),
    "results seal unsealed": ("unsealed/*.csv",),
    "results seal records": ("records/*.csv",),
    f"results export grid.yml {TINY} --record unsealed/runs.csv": (
        "unsealed/runs.csv",
        "unsealed/curves.csv",
    ),
    f"results judge grid.yml {TINY} --annotations expert.txt --record records/judgements.csv": (
        "expert.txt",
        "records/judgements.csv",
        "data/micro/test_ids.txt",
        "runs/*/*/*/*.*",
    ),
    f"results judge grid.yml {TINY} --annotations expert.txt.gz --record records/judgements.csv": (
        "expert.txt.gz",
    ),
    f"results attention grid.yml {TINY} --record records/attention.csv": (
        "records/attention.csv",
        "data/micro/test_*",
        "runs/*/*/*/*.*",
    ),
    "results ship colours toy --dataset painted/painted --terms none --models models": (
        "painted/painted/*.*",
        "colours/*.*",
    ),
    "import scan.pth.tar --folder again": ("scan.pth.tar",),
    "import scan.pth.tar --folder again --vocabulary words.json": ("words.json",),
    "parity reference": ("reference/*",),
    "data list --registry registry.toml": ("registry.toml",),
    "data get toy --registry registry.toml": ("registry.toml",),
    "data doctor toy --registry registry.toml": ("registry.toml",),
    "data vocab data/micro --replace": ("data/micro/train_caps.txt", "data/micro/vocab.json"),
    f"{CONVERT} butd_parts made --captions karpathy.json": ("butd_parts/*", "karpathy.json"),
    f"{CONVERT} cocobu/cocobu_att made --captions karpathy.json --boxes cocobu/cocobu_box": (
        "cocobu/cocobu_att/*",
        "cocobu/cocobu_box/*",
    ),
    f"{CONVERT} vinvl made --captions karpathy.json": ("vinvl/*.tsv",),
    f"{CONVERT} oscar made --captions karpathy.json": ("oscar/*",),
    f"{CONVERT} features.hdf5 made --captions few.txt --split test": ("features.hdf5", "few.txt"),
    f"{CONVERT} lmdb made --captions few.txt --split test": ("lmdb/data.mdb",),
    "data entities entities --annotations annotations --split test": (
        "annotations/*/*",
        "entities/*",
    ),
    "data coverage data/micro": ("data/micro/test_*",),
    "data make photographs --out made --backbone colour --boxes grid --workers 1": (
        "photographs/*",
    ),
    "data make photographs --out made --backbone colour --boxes grid --captions test=captions.txt "
    "--workers 1": ("captions.txt",),
    "data extractor extractor --annotations annotations --device cpu": (),
    "index photographs more --run colours --workers 1 --device cpu": (
        "photographs/*",
        "colours/config.json",
        "colours/best.safetensors",
        "colours/vocabulary.json",
    ),
    "index photographs gallery --workers 1 --device cpu": (
        "gallery/*.json",
        "gallery/pictures/*/*",
    ),
    "index data/micro more --run run": ("data/micro/test_*", *RUN),
    "search gallery dog": ("gallery/*.json", "gallery/pictures/*/*", "colours/best.safetensors"),
    "search vectors dog": ("vectors/*", *RUN),
    "search gallery dog --html page.html": ("gallery/*.json", "gallery/pictures/*/*"),
    "gallery list gallery": ("gallery/*.json", "gallery/pictures/*/*"),
    "gallery list vectors": ("vectors/*.json",),
    "gallery add gallery photographs --workers 1 --device cpu": ("gallery/*.json", "photographs/*"),
    "gallery remove gallery p0.png": ("gallery/*.json",),
    "gallery export gallery out.npz": ("gallery/*.json", "gallery/pictures/*/*"),
    "gallery export gallery out.npz --sentences sentences.txt": ("sentences.txt",),
    "bench scoring --images 0": (),
    "bench growth --methods x": (),
    "bench gpu --device x": (),
    "bench training x": (),
    "bench spread --dataset data/micro --seeds 0 --variants x": ("data/micro/train_*",),
    "bench loading --images 0": (),
}


def readers() -> dict[str, tuple[Callable[[Path], Any], str]]:
    """Return the functions that open a file, with the files of the folder that they open."""
    from itm_book.batch import profiles
    from itm_book.batch.notebook_runner import read_notebook
    from itm_book.bench import record as bench
    from itm_book.chapters.photographs import tables as judgements
    from itm_book.checkpoints.reading import read_checkpoint
    from itm_book.datasets import caption_sources, entity_files, registry
    from itm_book.galleries.export import read_sentences
    from itm_book.parity import format as parity
    from itm_book.records import attention, curves, grids, results, rounding
    from itm_book.search import search_curve
    from itm_book.search.first_stage import FirstStage
    from itm_book.search.gallery_store import open_store
    from itm_book.tables import published
    from itm_core.data import photographs, vocabulary, word_vectors
    from itm_core.data.dataset import load_split
    from itm_core.experiments import run

    def whole_run(path: Path) -> None:
        found = run.load(path.parent)
        for part in ("recipe", "environment", "metrics", "curve", "scores", "words_found"):
            getattr(found, part)
        found.matcher()

    def annotated(path: Path) -> None:
        split = load_split(path.parent, path.name.split("_")[0])
        split.words()
        split.objects()

    return {  # by name: the reader, and the files that it opens
        "profile": (lambda p: profiles.find_profile(p.parent), "profile/config.yaml"),
        "notebook": (read_notebook, "experiment.ipynb"),
        "bench scoring": (lambda p: bench.read("scoring", p.parent), "unsealed/bench_scoring.csv"),
        "bench training": (
            lambda p: bench.read("training", p.parent),
            "unsealed/bench_training.csv",
        ),
        "judgements": (judgements._read, "unsealed/judgements.csv"),
        "checkpoint": (read_checkpoint, "scan.pth.tar"),
        "captions": (lambda p: caption_sources.read_captioned(p, "test"), "captions.txt"),
        "karpathy": (caption_sources.read_captioned, "karpathy.json"),
        "boxes": (entity_files.read_boxes, "annotations/Annotations/*"),
        "registry": (registry.load, "registry.toml"),
        "sentences": (read_sentences, "sentences.txt"),
        "reference": (parity.read, "reference/*"),
        "attention": (attention.read, "unsealed/attention.csv"),
        "curves": (curves._lines, "unsealed/curves.csv"),
        "results": (results.every_recorded, "unsealed/runs.csv"),
        "rounding": (rounding.read, "unsealed/spread.csv"),
        "grid": (grids.load, "grid.yml"),
        "first stage": (FirstStage.load, "vectors/first_stage.safetensors"),
        "store": (lambda p: open_store(p.parent), "vectors/*"),
        "search curve": (search_curve.recorded, "unsealed/search.csv"),
        "published": (lambda p: published.load(p.parent), "unsealed/published/*.csv"),
        "picture": (photographs.read_photograph, "photographs/*"),
        "vocabulary": (vocabulary.Vocabulary.load, "run/vocabulary.json"),
        "vectors": (lambda p: word_vectors.read_vectors(p, ["red", "dog"], 6), "words.vec"),
        "run": (whole_run, "run/*.*"),
        "split": (annotated, "data/micro/test_*"),
    }
