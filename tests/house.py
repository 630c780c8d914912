"""The rules of the house, each a function from a source tree to what breaks them in it."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

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
PACKAGES = {  # folders by package
    "filterrelay": "filterrelay",
    "filterrelay_plugins": "plugins",
    "grafana": "grafana",
}
NOT_IN_THE_WHEEL = ("grafana",)
METRICS = "filterrelay.observe.metrics."

NAMES_THAT_ARE_NO_PLUGINS = {
    ("cli/main.py", "dkim"): "the command",
    ("cli/examination.py", "dkim"): "the part of the table that is about keys in DNS",
    ("cli/learn.py", "spam"): "the kind of mail",
    ("cli/quarantine.py", "spam"): "the kind of mail",
    ("plugin/learning.py", "spam"): "the kind of mail",
}
TESTS_OF_NO_FILE = {
    "acceptance": "the program beside real peers",
    "bench": "the program beside others",
    "fuzz": "codecs, with what nobody would think of",
    "test_house.py": "the house itself",
    "test_configuration_page.py": "docs/configuration.md",
    "test_metrics_page.py": "docs/metrics.md",
    "test_logs_page.py": "docs/logs.md",
    "test_deploy.py": "deploy/",
    "test_pages.py": "the pages for users",
    "grafana/boards/test_boards.py": "all dashboards",
    "grafana/boards/test_types.py": "all dashboards, against Grafana's types",
    "grafana/test_provisioning.py": "grafana/provisioning/",
    "grafana/test_alerts.py": "grafana/alerts/",
    "grafana/test_runbook.py": "docs/runbook/",
    "plugin/test_documentation.py": "docs/plugins.md",
    "doors/test_aiosmtpd.py": "aiosmtpd's own suite, against the door",
    "plugins/spam/test_plugin.py": "the package's __init__.py",
    "plugins/spam/test_corpus.py": "the package on a public corpus",
}
OPTIONAL_IN_TESTS = ("__init__.py", "__main__.py")  # they hold nothing, or two lines


def modules(folder: Path) -> list[Path]:
    """Every source file below a folder."""
    return sorted(folder.rglob("*.py"))


def imports(file: Path, root: Path) -> Iterator[str]:
    """The dotted names of the modules that a file imports, whatever way it writes that.

    A module that is named only when the program runs is given as far as it is
    known, as `filterrelay.cli.`; empty when nothing of it is.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                base = ".".join(filter(None, (*_package(file, root, level or 0), module)))
                for alias in names:
                    name = f"{base}.{alias.name}"
                    yield name if _is_module(name, root) else base
            case ast.Call(ast.Name(called) | ast.Attribute(attr=called), [name, *_]) if called in (
                "import_module",
                "__import__",
            ):
                yield _beginning(name)


def _package(file: Path, root: Path, level: int) -> tuple[str, ...]:
    """The package that so many dots mean in that file; nothing for none."""
    if not level:
        return ()
    folder, *rest = file.relative_to(root).parts
    package = next(name for name, where in PACKAGES.items() if where == folder)
    parts = (package, *rest)
    return parts[: len(parts) - level]


def _is_module(dotted: str, root: Path) -> bool:
    package, *rest = dotted.split(".")
    place = root.joinpath(PACKAGES.get(package, package), *rest)
    return place.is_dir() or place.with_suffix(".py").is_file()


def _beginning(name: ast.expr) -> str:
    match name:
        case ast.Constant(str(text)) | ast.JoinedStr([ast.Constant(str(text)), *_]):
            return text
        case _:
            return ""


def room(dotted: str) -> str:
    """The folder or file directly below filterrelay/ that a dotted name leads to."""
    return [*dotted.split("."), "__init__"][1]


def _core(root: Path) -> Iterator[tuple[Path, str]]:
    """Each file of the core with its place in it."""
    for file in modules(root / "filterrelay"):
        yield file, file.relative_to(root / "filterrelay").as_posix()


def wrong_imports(root: Path) -> Iterator[str]:
    """Where the core imports from a floor above, a neighbour or a plugin, or nobody knows what."""
    for file, place in _core(root):
        here = place.partition("/")[0].removesuffix(".py")
        for name in imports(file, root):
            package = name.partition(".")[0]
            if not name or package == "filterrelay_plugins":
                yield f"{place} imports {name or 'what only the running program knows'}"
            if package != "filterrelay":
                continue
            there = room(name)
            if there == here or (here, there) in NEIGHBOURS or FLOORS[there] < FLOORS[here]:
                continue
            yield f"{place} (floor {FLOORS[here]}) imports {name} (floor {FLOORS[there]})"


def possessive_groups(root: Path) -> Iterator[str]:
    """Expressions with a group that gives nothing back.

    Before 3.11.5, which Debian 12 hasn't, Python gets them wrong where the group holds
    anything that backtracks (python/cpython#106052).
    """
    group = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+|\(\?>")
    for folder in PACKAGES.values():
        for file in modules(root / folder):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    text = (
                        node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                    )
                    if group.search(text):
                        yield f"{file.relative_to(root)}:{node.lineno}"


def implementations_in_delivery(root: Path) -> Iterator[str]:
    """Where delivery knows more of the spool than its protocol."""
    for file in modules(root / "filterrelay" / "delivery"):
        for name in imports(file, root):
            if name.startswith("filterrelay.spool") and name != "filterrelay.spool.store":
                yield f"{file.name} imports {name}"


def named_plugins(root: Path, plugins: Iterable[str]) -> Iterator[str]:
    """Where the core knows a plugin by name; the demonstration's configuration may."""
    uses = re.compile(f'use = "({"|".join(map(re.escape, plugins))})"')
    for file, place in _core(root):
        if place.startswith("demo/"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            named = node.value in plugins or uses.search(node.value)
            if named and (place, node.value) not in NAMES_THAT_ARE_NO_PLUGINS:
                yield f"{place}:{node.lineno} names {node.value!r}"


def plugins_wrong_imports(root: Path) -> Iterator[str]:
    """Where a plugin imports another one, or from a floor above filterrelay.plugin's."""
    for file in modules(root / "plugins"):
        place = file.relative_to(root / "plugins")
        own = place.parts[0].removesuffix(".py")
        for name in imports(file, root):
            package, _, rest = name.partition(".")
            another = package == "filterrelay_plugins" and rest.partition(".")[0] != own
            above = package == "filterrelay" and FLOORS[room(name)] > FLOORS["plugin"]
            if another or above or not name:
                yield f"{place} imports {name or 'what only the running program knows'}"


def dashboards_wrong_imports(root: Path) -> Iterator[str]:
    """Where the dashboards know more of the program than its metrics."""
    for file in modules(root / "grafana"):
        for name in imports(file, root):
            package = name.partition(".")[0]
            if package == "filterrelay_plugins" or not name:
                yield f"{file.name} imports {name or 'what only the running program knows'}"
            if package == "filterrelay" and not f"{name}.".startswith(METRICS):
                yield f"{file.name} imports {name}"


def unmirrored(root: Path) -> Iterator[str]:
    """Source files without tests of their own, tests without a source file, and empty tests."""
    wanted = {}
    for folder, below in (("filterrelay", ""), ("plugins", "plugins"), ("grafana", "grafana")):
        for file in modules(root / folder):
            place = below / file.relative_to(root / folder)
            wanted[place.with_name(f"test_{place.name}").as_posix()] = file
    present = {
        file.relative_to(root / "tests").as_posix(): file
        for file in (root / "tests").rglob("test_*.py")
    }
    for name, file in wanted.items():
        if name not in present and file.name not in OPTIONAL_IN_TESTS:
            yield f"tests/{name} is missing"
    for name, file in present.items():
        if not re.search(r"^\s*(async )?def test_", file.read_text(), re.MULTILINE):
            yield f"tests/{name} tests nothing"
        elsewhere = TESTS_OF_NO_FILE.keys() & {name, name.partition("/")[0]}
        if name not in wanted and not elsewhere and not _goes_on(name, wanted):
            yield f"tests/{name} is the test of no file"


def _goes_on(name: str, wanted: Iterable[str]) -> bool:
    """Whether it is `test_spf_rfc7208.py` beside `test_spf.py`: more tests of one file."""
    stem = name.removesuffix(".py")
    return any(stem.startswith(f"{other.removesuffix('.py')}_") for other in wanted)


def undocumented(name: str, options: type[BaseModel]) -> Iterator[str]:
    """A plugin's options without a description, those of tables within included."""
    for option, field in options.model_fields.items():
        if not field.description:
            yield f"{name}.{option} has no description"
        for inner in _tables_in(field.annotation):
            yield from undocumented(f"{name}.{option}", inner)


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _tables_in(argument)


def missing_packages(root: Path, listed: Iterable[str]) -> set[str]:
    """The packages that would be missing in the wheel."""
    return {
        ".".join((package, *file.parent.relative_to(root / folder).parts))
        for package, folder in PACKAGES.items()
        if package not in NOT_IN_THE_WHEEL
        for file in modules(root / folder)
    } - set(listed)


def strays(root: Path) -> set[str]:
    """What stands at the top level beside what belongs there and what the build makes."""
    allowed = {
        *("pyproject.toml", "filterrelay", "plugins", "tests", "deploy", "grafana", "docs"),
        *("README.md", "CHANGELOG.md", "LICENSE", "Makefile"),
        *("build", "dist", "filterrelay.egg-info"),
    }
    return {path.name for path in root.iterdir() if not path.name.startswith(".")} - allowed
