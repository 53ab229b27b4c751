"""The wheel with its own dependencies alone: nothing of the book's extras can be imported.

The environment is a new one, without pip and without the site-packages of this one. Into it are
linked the packages that the wheel's metadata ask for, and what those ask for, and nothing else;
`pip check` confirms that none is missing.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from itm_book.checkpoints import shipped_matchers
from itm_core.extras import EXTRAS
from tests.micro import SMALL, write_dataset

ROOT = Path(__file__).parents[1]
RECIPE = "scan-t2i-mean+rcar"
EXPLAIN = """\
import sys
from pathlib import Path

import torch

from itm_core.data.dataset import load_split
from itm_core.evaluation.scoring import pad
from itm_core.experiments.run import load

run, split = load(Path(sys.argv[1])), load_split(Path(sys.argv[2]), "test")
matcher = run.matcher()
ids, lens = pad([run.vocabulary.encode(split.captions[0])])
with torch.no_grad():
    regions = matcher.regions(torch.from_numpy(split.regions[:1].copy()))
    output = matcher.explain(regions, matcher.words(ids, lens))
torch.testing.assert_close(output.total(), output.score)
print(len(output.directions[0].passes), "passes")
"""


def needed(start: Distribution) -> Iterator[Distribution]:
    """The installed distributions that one asks for, and that those ask for, without extras."""
    todo, known = [start], set()
    while todo:
        for line in todo.pop().requires or []:
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            chosen = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if chosen and name not in known:
                known.add(name)
                todo.append(distribution(name))
                yield todo[-1]


def link(installed: Distribution, site: Path) -> None:
    """Link the files and folders of a distribution into another site-packages."""
    tops = {file.parts[0] for file in installed.files or [] if ".." not in file.parts}
    for top in tops - {"__pycache__"}:
        source, target = Path(str(installed.locate_file(top))), site / top
        if source.exists() and not target.exists():
            target.symlink_to(source)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built in isolation; skips where hatchling cannot be fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT]
    done = subprocess.run(command, capture_output=True, text=True)
    if "hatchling" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("the build backend cannot be fetched without a network")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("bare") / "environment"
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python")]
    install = [*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (metadata,) = site.glob("itm_core-*.dist-info")
    for installed in needed(PathDistribution(metadata)):
        link(installed, site)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    return programs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder outside the clone, with a tiny dataset."""
    folder = tmp_path_factory.mktemp("place")
    write_dataset(folder / "micro")
    return folder


def call(bare: Path, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment in the folder, without this clone on its path."""
    environment = {"PATH": str(bare), "HOME": str(place), "OMP_NUM_THREADS": "1"}
    command = [str(bare / words[0]), *words[1:]]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)


def printed(bare: Path, place: Path, *words: str) -> str:
    done = call(bare, place, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_of_an_extra_can_be_imported(bare: Path, place: Path) -> None:
    code = "import sys\nfrom importlib.util import find_spec\n"
    code += "print([name for name in sys.argv[1:] if find_spec(name)])"
    assert printed(bare, place, "python", "-c", code, *EXTRAS) == "[]\n"


def test_all_commands_are_listed(bare: Path, place: Path) -> None:
    listed = printed(bare, place, "itm", "--help")
    for command in ("train", "recipes", "check", "grid", "score", "data", "search", "book"):
        assert f"\n    {command} " in listed


def test_recipes_grids_and_datasets_are_listed(bare: Path, place: Path) -> None:
    assert "scan-t2i-mean" in printed(bare, place, "itm", "recipes")
    grids = [path.stem for path in (ROOT / "notebooks" / "grids").glob("*.yml")]
    listed = printed(bare, place, "itm", "grid")
    assert all(name in listed for name in grids)
    assert "flickr8k" in printed(bare, place, "itm", "data", "list")


def test_the_trained_models_come_along(bare: Path, place: Path) -> None:
    code = "from itm_book.checkpoints.shipped_matchers import HOME, names\n"
    code += "print(names(), (HOME / 'regions' / 'README.md').is_file())"
    assert printed(bare, place, "python", "-c", code) == f"{shipped_matchers.names()} True\n"


def test_a_run_is_trained_scored_and_explained(bare: Path, place: Path) -> None:
    changes = [word for change in SMALL for word in ("--set", change)]
    trained = printed(
        bare, place, "itm", "train", "--dataset", "micro", "--recipe", RECIPE, *changes
    )
    run = trained.rpartition("run: ")[2].strip()
    assert "scores: " in printed(bare, place, "itm", "score", run, "micro")
    assert printed(bare, place, "python", "-c", EXPLAIN, run, "micro") == "2 passes\n"


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (["book"], "book"),
        (["grid", "rcar"], "book"),
        (["data", "get", "flickr8k"], "photographs"),
    ],
)
def test_what_needs_an_extra_says_which_in_one_line(
    bare: Path, place: Path, words: list[str], extra: str
) -> None:
    done = call(bare, place, "itm", *words)
    assert done.returncode == 2
    message = f'itm: itm {words[0]} needs the extra "{extra}": pip install "itm-core[{extra}]"\n'
    assert done.stderr == message
