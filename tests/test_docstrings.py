"""What docstrings name in single backquotes is there: a module, a function, a class, a member."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import itm_book
import itm_core
from tests.places import PROJECT

ROOTS = [Path(itm_core.__file__).parent, Path(itm_book.__file__).parent]
NAMED = re.compile(r"(?<!`)`([^`]+)`(?!`)")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
COMMAND = re.compile(r"itm [a-z]+")  # `itm data list` is something to type

Tree = dict[str, set[str]]


def assigned(nodes: list[ast.stmt]) -> Iterator[str]:
    """The names that statements bind, without looking into functions."""
    for node in nodes:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign(targets=targets):
                yield from (n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from ((n.asname or n.name).split(".")[0] for n in names)
            case ast.If(body=body) | ast.Try(body=body) | ast.With(body=body):
                yield from assigned(body)


class Package:
    """What every module binds, and every class has, read without importing anything."""

    def __init__(self, *roots: Path) -> None:
        self.trees = {}
        for root, path in ((r, path) for r in roots for path in sorted(r.rglob("*.py"))):
            parts = [root.name, *path.relative_to(root).with_suffix("").parts]
            self.trees[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text())
        self.names = {name: set(assigned(tree.body)) for name, tree in self.trees.items()}
        self.bases: dict[str, list[str]] = {}
        self.members: Tree = defaultdict(set)
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    self._enter(node)

    def _enter(self, node: ast.ClassDef) -> None:
        self.bases[node.name] = [b.id for b in node.bases if isinstance(b, ast.Name)]
        self.members[node.name] |= set(assigned(node.body))
        self.members[node.name] |= {
            n.attr
            for n in ast.walk(node)
            if isinstance(n, ast.Attribute)
            and isinstance(n.value, ast.Name)
            and n.value.id == "self"
        }

    def has(self, owner: str, parts: list[str]) -> bool:
        """Whether a class, or one that it inherits from, has a member."""
        if not parts:
            return True
        lines = [owner, *self.bases.get(owner, [])]
        return any(parts[0] in self.members[line] for line in lines)

    def inside(self, module: str, parts: list[str]) -> bool:
        return not parts or (parts[0] in self.names[module] and self.member(parts))

    def member(self, parts: list[str]) -> bool:
        return len(parts) == 1 or (parts[0] in self.members and self.has(parts[0], parts[1:]))

    def resolves(self, name: str, module: str, owners: list[str]) -> bool:
        """Whether a name means something where it stands, or is unique enough to be searched."""
        parts = name.split(".")
        if any(self.has(owner, parts) for owner in owners):
            return True
        for found in self.trees:
            spelt = found.split(".")
            tails = [spelt[k:] for k in range(len(spelt))]
            if any(parts[: len(t)] == t and self.inside(found, parts[len(t) :]) for t in tails):
                return True
        here = [n.name for n in ast.walk(self.trees[module]) if isinstance(n, ast.ClassDef)]
        if len(parts) == 1 and any(name in self.members[owner] for owner in here):
            return True
        return any(self.inside(found, parts) for found in self.names)


def documented(node: ast.AST, owners: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Every docstring below a node, and the classes that it stands in."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
        own = [*owners, node.name] if isinstance(node, ast.ClassDef) else owners
        yield ast.get_docstring(node) or "", own
        owners = own
    for child in ast.iter_child_nodes(node):
        yield from documented(child, owners)


def missing(package: Package) -> list[str]:
    """Every name in single backquotes that nothing answers to, with its module."""
    found = []
    for module, tree in package.trees.items():
        for text, owners in documented(tree, []):
            for name in (" ".join(n.split()) for n in NAMED.findall(text)):
                known = DOTTED.fullmatch(name) and package.resolves(name, module, owners)
                if not known and not COMMAND.match(name):
                    found.append(f"{module}: `{name}`")
    return found


def test_what_docstrings_name_is_there() -> None:
    package = Package(*ROOTS)
    assert (
        sum(
            len(NAMED.findall(t))
            for tree in package.trees.values()
            for t, _ in documented(tree, [])
        )
        > 300
    )
    assert missing(package) == []


def test_a_name_that_is_gone_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "one.py").write_text(
        '"""See `two`, `two.there`, `two.gone`, `there`, `Box.size`, `Box.lid`, ``no.name``."""\n'
    )
    (folder / "two.py").write_text(
        'def there() -> None:\n    """Not `pack.two.Box.tall`; `pack.one`."""\n\n'
        "class Base:\n    tall = 1\n\n"
        'class Box(Base):\n    """Has `size`, `tall` and no `lid`."""\n\n    size = 1\n'
    )
    assert missing(Package(folder)) == [
        "pack.one: `two.gone`",
        "pack.one: `Box.lid`",
        "pack.two: `lid`",
    ]


def headings() -> set[str]:
    """Every title and heading of the book."""
    texts = [path.read_text(encoding="utf-8") for path in (PROJECT / "book").glob("*.md")]
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts += ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    lines = (line for text in texts for line in text.splitlines() if line.startswith("#"))
    return {re.sub(r"[`*]|\{[^}]*\}", "", line.lstrip("# ")).strip() for line in lines}


def test_the_pages_that_docstrings_name_are_in_the_book() -> None:
    known = headings()
    package = Package(*ROOTS)
    named = [
        (module, name)
        for module, tree in package.trees.items()
        for text, _ in documented(tree, [])
        for line in re.findall(r"Page: (.*?)(?:\n\n|$)", text, re.DOTALL)
        for name in re.findall(r'"([^"]+)"', " ".join(line.split()))
    ]
    assert len(named) > 100
    assert [f"{module}: {name}" for module, name in named if name not in known] == []
