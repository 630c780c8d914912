"""docs/plugins.md does what it says: its package is built, installed and loaded."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import filterrelay
from filterrelay.chain.loader import SECTIONS
from filterrelay.plugin.discovery import check
from filterrelay.plugin.testing import running

PAGE = (Path(__file__).parent.parent.parent / "docs" / "plugins.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's code blocks in that language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that sees this one's packages and has the page's own distribution too."""
    project = tmp_path_factory.mktemp("office-words")
    code, test, _ = blocks("python")
    (project / "office_words.py").write_text(code)
    (project / "pyproject.toml").write_text(blocks("toml")[0])
    (project / "test_office_words.py").write_text(test)
    environment = project / "venv"
    venv.create(environment, system_site_packages=True, with_pip=False)
    site = next((environment / "lib").glob("python*/site-packages"))
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "ours.pth").write_text("\n".join(f"import site; site.addsitedir({p!r})" for p in ours))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    options = ["--no-build-isolation", "--target", str(site), str(project)]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=120)
    return project


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the environment that has the third party's package."""
    python = installed / "venv" / "bin" / "python"
    return subprocess.run(
        [str(python), *arguments],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_third_partys_package_is_found_and_described(installed: Path) -> None:
    """`filterrelay plugins NAME` knows a plugin from a distribution of its own."""
    result = run(installed, "-m", "filterrelay", "plugins", "office-words")
    assert result.returncode == 0, result.stderr
    assert "words" in result.stdout


def test_the_pages_own_test_passes(installed: Path) -> None:
    """The test on the page runs as it stands, fixtures and all."""
    result = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 passed" in result.stdout


async def test_the_lifespan_example_works(tmp_path: Path) -> None:
    """The last example writes its number down when it ends."""
    namespace: dict[str, type] = {}
    exec(blocks("python")[2], namespace)  # the page's own code
    check("counter", "counter", namespace["Counter"], {})
    async with running(namespace["Counter"], state_dir=tmp_path) as counter:
        await counter.on_outcome(None)
    assert (tmp_path / "Counter" / "seen").read_text() == "1"


def test_each_member_that_is_asked_for_beside_the_hooks_is_there() -> None:
    """What the program looks for on a plugin's class stands on the page."""
    root = Path(filterrelay.__file__).parent
    files = [file for folder in ("cli", "chain") for file in (root / folder).glob("*.py")]
    source = "\n".join(file.read_text() for file in files)
    for member in ("probe", "found_here", "learn", "user_file_option", "dkim_keys"):
        assert f'"{member}"' in source
        assert re.search(rf"^\| `.*\b{member}\b.*` \|", PAGE, re.MULTILINE)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_is_told_with_its_hooks(section: str) -> None:
    """An author learns where the plugin goes."""
    row = re.search(rf"^\| `\[\[{section}\]\]` \| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None
    assert set(re.findall(r"`(\w+)`", row[1])) == set(SECTIONS[section])
