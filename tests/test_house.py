"""The house of design.md: floors, neighbours, mirrors, and documented doors for plugins.

Each rule of tests/house.py is held here, and shown to notice what breaks it.
"""

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from filterrelay.plugin import Options
from filterrelay.plugin.discovery import HOOK_NAMES, installed, options_type, plugin_class
from filterrelay.plugin.hooks import Hooks

from . import house

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGINS = frozenset(PROJECT["project"]["entry-points"]["filterrelay.plugins"])

Rule = Callable[[Path], Iterable[str]]


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """A small source tree; the folders of the core's floors are there."""
    for folder in ("filterrelay/doors", "filterrelay/mail", "filterrelay/spool", "plugins"):
        (root / folder).mkdir(parents=True)
    for name in ("app.py", "doors/smtp.py", "spool/store.py", "spool/sqlite.py"):
        (root / "filterrelay" / name).touch()
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_imports_go_down_only() -> None:
    """No part of the core imports from a floor above it, a neighbour on its own, or a plugin."""
    assert list(house.wrong_imports(ROOT)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import filterrelay.app",
        "import filterrelay.doors.smtp as door",
        "from filterrelay.app import server_tls",
        "from filterrelay import app",
        "from filterrelay.doors import smtp",
        "from .. import app",
        "from ..doors import smtp",
        "from ..doors.smtp import SmtpDoor",
        "from importlib import import_module\nimport_module('filterrelay.app')",
        "import importlib\nimportlib.import_module(f'filterrelay.doors.{1}')",
        "__import__('filterrelay.app')",
        "from importlib import import_module\nimport_module(1 * 'x')",
        "def late():\n    from filterrelay import app",
        "import filterrelay_plugins.clamav",
        "from filterrelay_plugins import clamav",
    ],
)
def test_an_import_upward_is_noticed_however_it_is_written(tmp_path: Path, line: str) -> None:
    """Values on the ground floor know neither doors nor the composition, nor any plugin."""
    found = list(house.wrong_imports(tree(tmp_path, {"filterrelay/mail/address.py": line})))
    assert len(found) == 1, found
    assert found[0].startswith("mail/address.py ")


@pytest.mark.parametrize(
    "line",
    [
        "from filterrelay import __version__",
        "from . import reply",
        "from .reply import Reply",
        "from filterrelay.errors import FilterRelayError",
        "from importlib import import_module\nimport_module('json')",
    ],
)
def test_an_import_downward_is_none_of_it(tmp_path: Path, line: str) -> None:
    """A floor's own files and what lies below may be used."""
    files = {"filterrelay/mail/address.py": line, "filterrelay/mail/reply.py": ""}
    assert list(house.wrong_imports(tree(tmp_path, files))) == []


def test_delivery_takes_from_the_spool_only_its_protocol() -> None:
    """Delivery works with any store: it knows store.py and no implementation."""
    assert list(house.implementations_in_delivery(ROOT)) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("from filterrelay.spool.store import Spool", False),
        ("from filterrelay.spool import store", False),
        ("from filterrelay.spool import sqlite", True),
        ("from ..spool.sqlite import SqliteSpool", True),
    ],
)
def test_a_store_in_delivery_is_noticed(tmp_path: Path, line: str, wrong: bool) -> None:
    """However it is imported."""
    root = tree(tmp_path, {"filterrelay/delivery/scheduler.py": line})
    assert bool(list(house.implementations_in_delivery(root))) is wrong


def test_no_expression_has_a_possessive_group() -> None:
    """The Python of Debian 12 reads mail as the newest one does."""
    assert list(house.possessive_groups(ROOT)) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ('x = re.compile(rb"(?:a|b)*+")', True),
        ('x = re.compile(r"(?>a)")', True),
        ('x = re.compile(rf"(?:a{y}){{2,3}}+")', True),
        ('x = re.compile(r"[ab]*+c++")', False),
    ],
)
def test_a_possessive_group_is_noticed(tmp_path: Path, line: str, wrong: bool) -> None:
    """One of single characters is none."""
    root = tree(tmp_path, {"filterrelay/mail/x.py": line})
    assert bool(list(house.possessive_groups(root))) is wrong


def test_the_core_names_no_plugin() -> None:
    """The core finds plugins by entry point, as it would a stranger's."""
    assert list(house.named_plugins(ROOT, PLUGINS)) == []


@pytest.mark.parametrize(
    ("name", "line", "wrong"),
    [
        ("chain/chain.py", "fast = step.plugin.use == 'clamav'", True),
        ("cli/init.py", "filters = ('attachments', 'spam')", True),
        ("cli/learn.py", "hint = 'add [[filter]] with use = \"spam\"'", True),
        ("demo/office.py", "text = 'use = \"clamav\"'", False),
        ("cli/learn.py", "kind = 'spam'", False),
        ("chain/chain.py", "text = 'asks clamav whether it is there'", False),
    ],
)
def test_a_plugins_name_in_the_core_is_noticed(
    tmp_path: Path, name: str, line: str, wrong: bool
) -> None:
    """Where the program would act by it; the demonstration's file may have it."""
    root = tree(tmp_path, {f"filterrelay/{name}": line})
    assert bool(list(house.named_plugins(root, PLUGINS))) is wrong


def test_no_plugin_imports_another() -> None:
    """A plugin stands on filterrelay.plugin and lower floors, and never on another plugin."""
    assert list(house.plugins_wrong_imports(ROOT)) == []


@pytest.mark.parametrize(
    ("name", "line", "wrong"),
    [
        ("spf.py", "from . import dkim", True),
        ("spf.py", "from .dkim import Dkim", True),
        ("spf.py", "from filterrelay_plugins import dkim", True),
        ("spf.py", "import filterrelay_plugins.dkim", True),
        ("spf.py", "from filterrelay import app", True),
        ("spf.py", "from filterrelay.spool.store import Spool", True),
        ("spf.py", "from importlib import import_module\nimport_module('filterrelay.app')", True),
        ("spf.py", "from filterrelay.plugin import hook", False),
        ("spam/rules.py", "from . import tokens", False),
        ("spam/rules.py", "from filterrelay_plugins.spam.tokens import words", False),
        ("spam/rules.py", "from .. import dkim", True),
    ],
)
def test_a_plugin_that_imports_another_is_noticed(
    tmp_path: Path, name: str, line: str, wrong: bool
) -> None:
    """However it is written; a package's own files are no other plugin."""
    files = {"plugins/dkim.py": "", "plugins/spam/tokens.py": "", f"plugins/{name}": line}
    found = list(house.plugins_wrong_imports(tree(tmp_path, files)))
    assert bool(found) is wrong, found


def test_dashboards_know_the_metrics_alone() -> None:
    """They are drawn from the series, and from nothing else of the program."""
    assert list(house.dashboards_wrong_imports(ROOT)) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("from filterrelay.observe.metrics import READY", False),
        ("from filterrelay.observe import metrics", False),
        ("from .series import M", False),
        ("from filterrelay.spool.values import State", True),
        ("import filterrelay_plugins.spf", True),
        ("from importlib import import_module\nimport_module(1 * 'x')", True),
    ],
)
def test_a_dashboard_that_knows_more_is_noticed(tmp_path: Path, line: str, wrong: bool) -> None:
    """However it is written."""
    root = tree(tmp_path, {"grafana/query.py": line, "filterrelay/observe/metrics.py": ""})
    assert bool(list(house.dashboards_wrong_imports(root))) is wrong


def test_tests_mirror_the_tree() -> None:
    """Each source file has its tests where one looks for them, and each test file its source."""
    assert list(house.unmirrored(ROOT)) == []


MIRRORED = {
    "filterrelay/mail/address.py": "",
    "tests/mail/test_address.py": "def test_a() -> None: ...\n",
    "plugins/spf.py": "",
    "tests/plugins/test_spf.py": "async def test_a() -> None: ...\n",
}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"filterrelay/mail/reply.py": ""}, ["tests/mail/test_reply.py is missing"]),
        ({"filterrelay/mail/__init__.py": ""}, []),
        ({"grafana/look.py": ""}, ["tests/grafana/test_look.py is missing"]),
        ({"plugins/dkim.py": ""}, ["tests/plugins/test_dkim.py is missing"]),
        ({"tests/mail/test_address.py": ""}, ["tests/mail/test_address.py tests nothing"]),
        (
            {"tests/mail/test_adress.py": "def test_a() -> None: ...\n"},
            ["tests/mail/test_adress.py is the test of no file"],
        ),
        ({"tests/mail/test_address_idn.py": "def test_a() -> None: ...\n"}, []),
        ({"tests/acceptance/test_crash.py": "def test_a() -> None: ...\n"}, []),
    ],
    ids=lambda value: next(iter(value), "none"),
)
def test_what_the_mirror_lacks_is_noticed(
    tmp_path: Path, changes: dict[str, str], found: list[str]
) -> None:
    """A source file without tests, tests of a file that is gone, and tests that are gone."""
    for name, text in (MIRRORED | changes).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(house.unmirrored(tmp_path)) == found


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_each_hook_is_documented(name: str) -> None:
    """A plugin's author finds each hook in its docstring and in docs/plugins.md."""
    assert inspect.getdoc(getattr(Hooks, name))
    assert f"`{name}`" in (ROOT / "docs" / "plugins.md").read_text()


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_each_option_is_documented(name: str) -> None:
    """`filterrelay plugins NAME` can say what each option is for, also in tables within."""
    assert name in installed()
    cls = plugin_class(name)
    assert inspect.getdoc(cls)
    assert list(house.undocumented(name, options_type(cls))) == []


class Silent(Options):
    """A table that says nothing of its key."""

    word: str = ""


class Outer(Options):
    """Tables of tables."""

    tables: tuple[Silent, ...] = ()
    """Tables."""
    maybe: dict[str, Silent | None] | None = None
    """Tables by name."""


def test_an_option_without_description_is_noticed() -> None:
    """However deep it lies."""
    assert list(house.undocumented("x", Outer)) == [
        "x.tables.word has no description",
        "x.maybe.word has no description",
    ]


def test_every_package_is_in_the_wheel() -> None:
    """The list of packages in pyproject.toml misses none."""
    assert house.missing_packages(ROOT, PROJECT["tool"]["setuptools"]["packages"]) == set()


def test_a_package_that_the_wheel_would_miss_is_noticed(tmp_path: Path) -> None:
    """Of the core or of the plugins."""
    root = tree(tmp_path, {"filterrelay/mail/address.py": "", "plugins/spam/rules.py": ""})
    listed = ["filterrelay", "filterrelay.doors", "filterrelay.spool"]
    missing = {"filterrelay.mail", "filterrelay_plugins.spam"}
    assert house.missing_packages(root, listed) == missing


def test_nothing_grows_at_the_top_level() -> None:
    """The top level holds what the project's description says, and nothing else."""
    assert house.strays(ROOT) == set()


def test_what_grows_at_the_top_level_is_noticed(tmp_path: Path) -> None:
    """Files that tools keep for themselves begin with a dot."""
    for name in ("README.md", "notes.txt", ".venv"):
        (tmp_path / name).touch()
    assert house.strays(tmp_path) == {"notes.txt"}
