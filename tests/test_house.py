"""The house of design.md: floors, neighbours, mirrors, and documented doors for plugins."""

import ast
import inspect
import tomllib
from pathlib import Path

import pytest

from filterrelay.plugin.discovery import HOOK_NAMES, installed, options_type, plugin_class
from filterrelay.plugin.hooks import Hooks

ROOT = Path(__file__).parent.parent
CORE = ROOT / "filterrelay"
PLUGINS = ROOT / "plugins"

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

FLOORS = {
    **dict.fromkeys(("errors", "__init__"), 0),
    **dict.fromkeys(("mail", "wire", "observe"), 1),
    **dict.fromkeys(("settings", "plugin"), 2),
    **dict.fromkeys(("chain", "spool", "delivery"), 3),
    "intake": 4,
    **dict.fromkeys(("doors", "console", "demo"), 5),
    **dict.fromkeys(("app", "supervisor", "cli", "__main__"), 6),
}
NEIGHBOURS = {
    # Floor 1: values may stand on values; a metric's type is part of the budget and the codec.
    ("wire", "mail"),
    ("observe", "mail"),
    # Floor 2: settings are typed by what a plugin's options are typed by.
    ("settings", "plugin"),
    # Floor 3: delivery works on the spool's values and protocol, which stand in store.py alone.
    ("delivery", "spool"),
    # Floor 6: commands start the supervisor, which starts what app.py wires.
    ("__main__", "cli"),
    ("cli", "app"),
    ("cli", "supervisor"),
    ("supervisor", "app"),
}


def modules(folder: Path) -> list[Path]:
    """Every source file below a folder."""
    return sorted(folder.rglob("*.py"))


def imports(file: Path) -> set[str]:
    """The dotted names that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def room(dotted: str) -> str:
    """The folder or file directly below filterrelay/ that a dotted name leads to."""
    return [*dotted.split("."), "__init__"][1]


def room_of(file: Path) -> str:
    """The same for a source file."""
    return file.relative_to(CORE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", modules(CORE), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_down_only(file: Path) -> None:
    """No part of the core imports from a floor above it, nor from a neighbour on its own."""
    here = room_of(file)
    for name in imports(file):
        if not name.startswith("filterrelay."):
            continue
        there = room(name)
        if there == here or (here, there) in NEIGHBOURS:
            continue
        assert FLOORS[there] < FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {name}"


def test_delivery_takes_from_the_spool_only_its_protocol() -> None:
    """Delivery works with any store: it knows store.py and no implementation."""
    for file in modules(CORE / "delivery"):
        spool = {name for name in imports(file) if name.startswith("filterrelay.spool")}
        assert spool <= {"filterrelay.spool.store"}, file


@pytest.mark.parametrize("file", modules(CORE), ids=lambda f: str(f.relative_to(ROOT)))
def test_the_core_names_no_plugin(file: Path) -> None:
    """The core finds plugins by entry point, as it would a stranger's."""
    assert not any(name.startswith("filterrelay_plugins") for name in imports(file))


@pytest.mark.parametrize("file", modules(PLUGINS), ids=lambda f: str(f.relative_to(ROOT)))
def test_no_plugin_imports_another(file: Path) -> None:
    """A plugin stands on filterrelay.plugin and lower floors, and never on another plugin."""
    own = file.relative_to(PLUGINS).parts[0].removesuffix(".py")
    for name in imports(file):
        if name.startswith("filterrelay_plugins"):
            assert name.split(".")[1:2] == [own], f"{file} imports {name}"
        if name.startswith("filterrelay."):
            assert FLOORS[room(name)] <= 2, f"{file} imports {name}"


@pytest.mark.parametrize(
    "file",
    [
        f
        for f in (*modules(CORE), *modules(PLUGINS))
        if f.name not in ("__init__.py", "__main__.py")
    ],
    ids=lambda f: str(f.relative_to(ROOT)),
)
def test_tests_mirror_the_tree(file: Path) -> None:
    """Each source file has its tests where one looks for them."""
    if file.is_relative_to(PLUGINS):
        place = Path("plugins") / file.relative_to(PLUGINS)
    else:
        place = file.relative_to(CORE)
    mirrored = ROOT / "tests" / place.parent / f"test_{place.name}"
    assert mirrored.is_file(), f"{mirrored.relative_to(ROOT)} is missing"


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_each_hook_is_documented(name: str) -> None:
    """A plugin's author finds each hook in its docstring and in docs/plugins.md."""
    assert inspect.getdoc(getattr(Hooks, name))
    assert f"`{name}`" in (ROOT / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("name", sorted(PROJECT["project"]["entry-points"]["filterrelay.plugins"]))
def test_each_option_is_documented(name: str) -> None:
    """`filterrelay plugins NAME` can say what each option is for."""
    assert name in installed()
    cls = plugin_class(name)
    assert inspect.getdoc(cls)
    for option, field in options_type(cls).model_fields.items():
        assert field.description, f"{name}: option {option} has no description"


def test_every_package_is_in_the_wheel() -> None:
    """The list of packages in pyproject.toml misses none."""
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    folders = {f.parent.relative_to(ROOT) for f in modules(CORE)}
    wanted = {".".join(folder.parts) for folder in folders}
    wanted |= {
        ".".join(("filterrelay_plugins", *f.parent.relative_to(PLUGINS).parts))
        for f in modules(PLUGINS)
    }
    assert wanted <= listed


def test_nothing_grows_at_the_top_level() -> None:
    """The top level holds what the project's description says, and nothing else."""
    allowed = {
        *("pyproject.toml", "filterrelay", "plugins", "tests", "deploy", "grafana", "docs"),
        *("README.md", "CHANGELOG.md", "LICENSE", "Makefile"),
    }
    tracked = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    made = {"build", "dist", "filterrelay.egg-info"}
    assert tracked - made <= allowed
