"""A file of any kind made wrong: every command and reader refuses it in one line, or is right.

``ATTACK_SEED=7 pytest --slow tests/attack`` runs thousands of other cases.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.attack.attempts import Tree, faults, run_command
from tests.attack.campaign import arena, attacked, cases, targets
from tests.attack.mutations import BY_ENDING, mutated
from tests.attack.table import COMMANDS, LEFT_OUT
from tests.commands import leaves

SEED = int(os.environ.get("ATTACK_SEED", "0"))
FEW, MANY = 2, 40  # cases of each file
NAMES = sorted({name for name, _ in targets()})
UNSUCCESSFUL = ("bench", "data get", "data doctor", "data extractor")  # of what the folder lacks


@pytest.fixture(scope="module")
def place() -> Iterator[Tree]:
    with arena() as tree:
        yield tree


def test_every_command_is_attacked() -> None:
    commands = {" ".join(words) for words, _ in leaves()}
    attacked_ones = {
        name
        for name in commands
        if any(c.split()[: len(name.split())] == name.split() for c in COMMANDS)
    }
    assert commands - attacked_ones == LEFT_OUT


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_valid_before_it_is_attacked(command: str, place: Tree) -> None:
    """Else every attack would end at the same message, and test nothing."""
    outcome = run_command(command.split())
    place.restore()
    assert not faults(outcome)
    assert outcome.code == 0 or command.startswith(UNSUCCESSFUL), outcome.error


@pytest.mark.parametrize("target", NAMES)
def test_a_bad_file_is_refused_in_one_line(target: str, place: Tree) -> None:
    require_none(target, FEW, place)


@pytest.mark.slow
@pytest.mark.parametrize("target", NAMES)
def test_many_bad_files_are_refused_in_one_line(target: str, place: Tree) -> None:
    require_none(target, MANY, place)


def require_none(target: str, count: int, place: Tree) -> None:
    chosen = cases(place.root, SEED, count, lambda name: name == target)
    failures = list(attacked(chosen, place))
    repeated = 'to repeat one: python -m tests.attack.campaign --case "..."'
    assert not failures, "\n".join([*map(str, failures), repeated])


@pytest.mark.parametrize("ending", [".txt", *BY_ENDING])
def test_the_same_seed_makes_the_same_change(ending: str, place: Tree) -> None:
    files = [name for name in place.content if name.endswith(ending.removeprefix(".json."))]
    content = place.content[files[0]] or b""
    changes = [mutated(content, ending, str(seed)) for seed in range(20)]
    again = [mutated(content, ending, str(seed)) for seed in range(20)]
    assert [c.what for c in changes] == [c.what for c in again]
    assert sum(change.content != content for change in changes) > 12


def test_what_an_attack_changed_is_seen_and_restored(place: Tree) -> None:
    (place.root / "new" / "folder").mkdir(parents=True)
    (place.root / "new" / "folder" / "file").write_text("x")
    (place.root / "grid.yml").write_text("x")
    (place.root / "words.vec").unlink()
    assert place.changed() == ["grid.yml", "new/folder/file", "words.vec"]
    place.restore()
    assert place.changed() == []
    assert not (place.root / "new").exists()
