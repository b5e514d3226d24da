"""The floors of ARCHITECTURE.md: imports go downward only, never sideways, never in a circle."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

# A name stands for the module or the room (sub-package) of that name below `sandbox`.
FLOORS = {
    "errors": 0,
    "record": 0,
    "text": 0,
    "log": 0,
    "_core": 0,
    "plan": 1,
    "host": 2,
    "policy": 3,
    "launch": 4,
    "run": 5,
    "cli": 8,
}
# These stand outside the house: the door bell, the public names, the build.
OUTSIDE = frozenset({"__init__", "__main__", "_build_core", "_build_launcher"})
# `launch` knows plans, not the policies they come from: they meet only in a Plan.
FORBIDDEN = {"launch": frozenset({"policy"})}
# Floor 0 has no order of its own, so each of its members names what it may use.
GROUND = {"log": frozenset({"errors", "text"})}


def package_dir() -> Path:
    """Return the directory of the package under test."""
    spec = importlib.util.find_spec("sandbox")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def sources() -> list[Path]:
    """Return every Python file of the package, but for the shipped policies."""
    base = package_dir()
    files = (path for path in sorted(base.rglob("*.py")) if "__pycache__" not in path.parts)
    return [path for path in files if path.relative_to(base).parts[0] != "policies"]


def room_of(path: Path) -> str:
    """Return the first part of the module's name below `sandbox`."""
    relative = path.relative_to(package_dir())
    return relative.parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    """Return the dotted name of the module in `path`."""
    parts = ["sandbox", *path.relative_to(package_dir()).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[tuple[str, int]]:
    """Yield every `sandbox…` name that is imported anywhere in `tree`, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                up = up[: len(up) - node.level + (1 if is_package else 0)]
                base = ".".join([*up, base] if base else up)
            # `from sandbox.plan import model` names a module, `import Plan` a member: both are
            # given, and a name that is no module harms nobody.
            yield base, node.lineno
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Return the `sandbox…` imports of one file as (dotted name, line)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found = imported(tree, module_of(path), is_package=path.name == "__init__.py")
    return [(name, line) for name, line in found if name.split(".")[0] == "sandbox"]


def rooms_imported(path: Path) -> list[tuple[str, int]]:
    """Return the rooms that one file imports from, with the line."""
    rooms = []
    for name, line in imports_of(path):
        parts = name.split(".")
        if len(parts) > 1 and parts[1] in FLOORS:
            rooms.append((parts[1], line))
    return rooms


def violations(path: Path) -> list[str]:
    """Return one line for each import of `path` that goes up or sideways."""
    room = room_of(path)
    if room in OUTSIDE:
        return []
    found = []
    for target, line in rooms_imported(path):
        if target == room:
            continue
        is_allowed = FLOORS[target] < FLOORS[room]
        if FLOORS[room] == FLOORS[target] == 0:
            is_allowed = target in GROUND.get(room, frozenset())
        if not is_allowed or target in FORBIDDEN.get(room, frozenset()):
            found.append(f"{path.name}:{line}: {room} imports {target}")
    return found


def circles(edges: dict[str, set[str]]) -> list[str]:
    """Return each circle of `edges` once, as text."""
    found: list[str] = []
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> None:
        if node in trail:
            found.append(" → ".join([*trail[trail.index(node) :], node]))
            return
        if node in done:
            return
        for target in sorted(edges.get(node, ())):
            visit(target, [*trail, node])
        done.add(node)

    for node in sorted(edges):
        visit(node, [])
    return found


def module_edges() -> dict[str, set[str]]:
    """Return which module of the package imports which, over all files."""
    names = {module_of(path) for path in sources()}
    edges: dict[str, set[str]] = {}
    for path in sources():
        own = module_of(path)
        edges[own] = {name for name, _ in imports_of(path) if name in names and name != own}
        edges[own].discard("sandbox")  # the public names are imported when first used
    return edges


def test_every_room_has_a_floor() -> None:
    """Each file and each directory of the package stands on a known floor."""
    rooms = {room_of(path) for path in sources()}
    assert rooms - set(FLOORS) - OUTSIDE == set()


def test_imports_go_downward_only() -> None:
    """No module imports from its own floor's other rooms or from above."""
    found = [line for path in sources() for line in violations(path)]
    assert found == []


def test_imports_are_not_circular() -> None:
    """No two modules need each other, in whatever floor and at whatever depth of the code."""
    assert circles(module_edges()) == []


def test_public_names_are_imported_when_first_used() -> None:
    """`import sandbox` runs no other module of the package."""
    tree = ast.parse((package_dir() / "__init__.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or "" for node in top]
    assert [name for name in names if name.split(".")[0] == "sandbox"] == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sandbox.run", ["sandbox.run"]),
        ("def f():\n    from sandbox.cli import main", ["sandbox.cli", "sandbox.cli.main"]),
        ("from ..host import facts", ["sandbox.host", "sandbox.host.facts"]),
        ("from . import model", ["sandbox.plan", "sandbox.plan.model"]),
    ],
)
def test_imports_are_found_wherever_they_stand(code: str, expected: list[str]) -> None:
    """The reader sees plain, function-level and relative imports."""
    found = imported(ast.parse(code), "sandbox.plan.encode", is_package=False)
    assert [name for name, _ in found] == expected


def test_circles_are_found() -> None:
    """The search finds a circle through several modules and no circle where there is none."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b → c → b"]
    assert circles({"a": {"b", "c"}, "b": {"c"}}) == []
