"""The pages for users: each is found from the README, and its links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(path for folder in ("docs", "deploy") for path in (ROOT / folder).rglob("*.md")),
]
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")  # not pictures, which are made


def links(page: Path) -> list[str]:
    """What it links to within the repository."""
    return [link for link in _LINK.findall(page.read_text()) if "://" not in link]


def headings(page: Path) -> list[str]:
    """Its headings as links have them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_is_there(page: Path) -> None:
    """Files, folders and headings."""
    for link in links(page):
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def test_the_readme_leads_to_every_page() -> None:
    """But a page of the runbook, which the runbook's own leads to."""
    reached = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "runbook" / "README.md"]
    assert not [page.name for page in pages if page not in reached]
