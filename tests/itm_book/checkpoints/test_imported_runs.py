"""An imported checkpoint on a dataset is a run: of the store, of tables, of figures, of search."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itm_book.chapters import experiment
from itm_book.checkpoints import imported_runs
from itm_book.checkpoints.importing import import_checkpoint
from itm_book.figures import method_charts
from itm_book.pages.run_entries import run_entries
from itm_book.pairs.pair_records import pair_record
from itm_book.records.results import Result
from itm_book.search.searcher import Searcher
from itm_book.tables import report
from itm_core.cli import main
from itm_core.data.dataset import load_dataset
from itm_core.data.vocabulary import Vocabulary
from itm_core.errors import InputError
from itm_core.evaluation import retrieval
from itm_core.evaluation.scoring import score_matrix
from itm_core.experiments import runs
from itm_core.json_files import write_json
from tests.places import GOLDEN

FILES = GOLDEN / "checkpoints"
DATASET = FILES / "dataset"
NAMES = {"rcar_t2i_coop2": "rcar_t2i_coop2.pth", "sgraf_saf": "sgraf_saf.pth.tar"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("imported")
    for name, file in NAMES.items():
        import_checkpoint(FILES / file, place / name)
    return place


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_run_of_the_store(name: str, place: Path, tmp_path: Path) -> None:
    given = {"root": tmp_path, "device": "cpu", "progress": False}
    run = imported_runs.scored(place / name, DATASET, **given)  # type: ignore[arg-type]
    theirs = np.load(FILES / f"{name}_scores.npy")
    np.testing.assert_allclose(run.scores, theirs, atol=2e-5)
    assert run.metrics["rsum"] == pytest.approx(retrieval.metrics(theirs).rsum)
    assert runs.all_runs(tmp_path) == [run]
    assert [(f.state, f.place) for f in run_entries(tmp_path)] == [
        ("finished", run.folder.parts[-3:])
    ]
    weights = (run.folder / "best.safetensors").stat().st_mtime_ns
    again = imported_runs.scored(place / name, DATASET, **given)  # type: ignore[arg-type]
    assert again == run
    assert (run.folder / "best.safetensors").stat().st_mtime_ns == weights
    loaded = runs.load(run.folder)
    assert loaded.vocabulary.ids == Vocabulary.load(DATASET / "vocab.json").ids


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_figures_take_it(name: str, place: Path, tmp_path: Path) -> None:
    data = load_dataset(DATASET)
    run = imported_runs.scored(place / name, data, root=tmp_path, device="cpu", progress=False)
    facts = dict(experiment.facts(run, data).itertuples(index=False, name=None))
    assert facts["weights"].startswith(f"imported from {NAMES[name]}, SHA-256")
    assert facts["minutes"] == "not trained here"
    assert len(report.numbers(run)) == 2
    row = Result.of(run).row()
    assert Result.from_row({k: row[k] for k in row}).metrics["rsum"] == run.metrics["rsum"]
    assert len(method_charts.learning_curve({"imported": run.curve}).axes) == 2


@pytest.mark.parametrize("name", NAMES)
def test_it_is_explained_and_searched_before_it_is_scored(name: str, place: Path) -> None:
    run, split = imported_runs.load_run(place / name, dataset=DATASET), load_dataset(DATASET).test
    record = pair_record(run, split, 3, 17)
    theirs = np.load(FILES / f"{name}_scores.npy")
    assert record.score == pytest.approx(theirs[3, 17], abs=2e-5)
    found = Searcher(run, split).images_for(split.captions[17])
    np.testing.assert_array_equal(
        [hit.place for hit in found.hits], np.argsort(-theirs[:, 17])[: len(found.hits)]
    )


def test_a_gallery_keeps_the_vocabulary(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "rcar_t2i_coop2"
    gallery = tmp_path / "gallery"
    given = ["index", str(DATASET), str(gallery), "--run", str(place / name), "--kind", "float32"]
    assert main(given) == 0
    capsys.readouterr()
    split = load_dataset(DATASET).test
    assert main(["search", str(gallery), split.captions[17], "--top", "3"]) == 0
    shown = capsys.readouterr().out.splitlines()[1:]
    lines = [line for line in shown if re.match(r"\s*-?\d+\.\d{4}  \S", line)]  # not of its words
    theirs = np.load(FILES / f"{name}_scores.npy")[:, 17]
    best = np.argsort(-theirs)[:3]
    assert [line.split()[1] for line in lines] == [split.ids[image] for image in best]
    assert [float(line.split()[0]) for line in lines] == pytest.approx(theirs[best], abs=1e-3)


def test_another_vocabulary_is_another_gallery(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery, other = tmp_path / "gallery", tmp_path / "swapped.json"
    ids = dict(Vocabulary.load(DATASET / "vocab.json").ids.items())
    ids["red"], ids["blue"] = ids["blue"], ids["red"]
    Vocabulary(ids).save(other)
    words = ["index", str(DATASET), str(gallery), "--run", str(place / "rcar_t2i_coop2")]
    assert main(words) == 0
    before = {path: path.read_bytes() for path in gallery.iterdir()}
    capsys.readouterr()
    assert main([*words, "--vocabulary", str(other)]) == 2
    assert "another gallery; expected the same vocabulary" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in gallery.iterdir()} == before
    # the same words in another file are the same vocabulary
    copy = tmp_path / "copy.json"
    copy.write_bytes((DATASET / "vocab.json").read_bytes())
    assert main([*words, "--vocabulary", str(copy)]) == 0
    assert {path: path.read_bytes() for path in gallery.iterdir()} == before


def test_another_vocabulary_is_another_run(place: Path, tmp_path: Path) -> None:
    words = Vocabulary.load(DATASET / "vocab.json")
    ids = dict(words.ids.items())
    ids["red"], ids["blue"] = ids["blue"], ids["red"]
    Vocabulary(ids).save(tmp_path / "swapped.json")
    given = {"root": tmp_path / "runs", "device": "cpu", "progress": False}
    plain = imported_runs.scored(place / "sgraf_saf", DATASET, **given)  # type: ignore[arg-type]
    swapped = imported_runs.scored(
        place / "sgraf_saf",
        DATASET,
        vocabulary=tmp_path / "swapped.json",
        **given,  # type: ignore[arg-type]
    )
    assert swapped.folder != plain.folder
    command = ["score", str(place / "sgraf_saf"), str(DATASET), "--out", str(tmp_path / "out")]
    named = ["--vocabulary", str(tmp_path / "swapped.json")]
    assert main([*command, *named, "--shards", "2", "--workers", "1", "--device", "cpu"]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "out" / "scores.npy"), swapped.scores, atol=1e-6)
    assert main([*command, "--shards", "2"]) == 2, "that folder holds another vocabulary's scores"
    split = load_dataset(DATASET).test
    turned = {"red": "blue", "blue": "red"}
    captions = [" ".join(turned.get(w, w) for w in c.split()) for c in split.captions]
    other = replace(split, captions=captions)
    expected = score_matrix(
        plain.matcher(), other.regions, [words.encode(caption) for caption in captions]
    )
    np.testing.assert_allclose(swapped.scores, expected, atol=1e-6)


NUMBERS = retrieval.report(np.eye(2), np.arange(2))
SIZES = {"feature_width": 24, "region_count": 36}


def test_what_is_no_imported_checkpoint_is_refused(tmp_path: Path) -> None:
    config = {"dataset": "a", "recipe": {"name": "a", "encoder": {}}, "seed": 0} | SIZES
    write_json(tmp_path / "trained" / "config.json", config)
    write_json(tmp_path / "trained" / "metrics.json", NUMBERS)
    with pytest.raises(InputError, match=r"trained: not an imported checkpoint.*runs\.load"):
        imported_runs.scored(tmp_path / "trained", DATASET, root=tmp_path / "runs", device="cpu")
    with pytest.raises(InputError, match="folder has the wrong type; .* found None"):
        imported_runs.scored(None, DATASET)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="dataset has the wrong type; .* found None"):
        imported_runs.scored(tmp_path / "trained", None)  # type: ignore[arg-type]
    assert [p.name for p in tmp_path.iterdir()] == ["trained"]


def test_data_that_do_not_fit_are_refused(place: Path, tmp_path: Path) -> None:
    def changed(name: str, shape: tuple[int, ...]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in DATASET.iterdir():
            if file.suffix == ".npy":
                regions = np.load(file)
                np.save(folder / file.name, np.resize(regions, (len(regions), *shape)))
            else:
                (folder / file.name).write_bytes(file.read_bytes())
        return folder

    given = {"root": tmp_path / "runs", "device": "cpu", "progress": False}
    for folder, message in (
        (changed("narrow", (36, 20)), "another width than .* expected 24, .* found 20"),
        (changed("few", (30, 24)), "another number than .* expected 36, .* found 30"),
    ):
        with pytest.raises(InputError, match=message):
            imported_runs.scored(place / "sgraf_saf", folder, **given)  # type: ignore[arg-type]
        out = tmp_path / "out"
        assert main(["score", str(place / "sgraf_saf"), str(folder), "--out", str(out)]) == 2
        assert main(["index", str(folder), str(out), "--run", str(place / "sgraf_saf")]) == 2
        assert not out.exists()
    few = tmp_path / "few"  # any number of regions will do where nothing is bound to it
    assert imported_runs.scored(place / "rcar_t2i_coop2", few, **given).scores.shape == (10, 50)  # type: ignore[arg-type]
