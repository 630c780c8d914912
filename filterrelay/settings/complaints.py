"""What a check of the configuration says, and complaints that several checks have."""

from collections.abc import Iterable, Iterator

from filterrelay.settings.toml_lines import Path as KeyPath

Complaint = tuple[KeyPath, str]


def repeated(kind: str, named: Iterable[tuple[KeyPath, str]]) -> Iterator[Complaint]:
    """Names that must be unique and are not."""
    seen: set[str] = set()
    for path, name in named:
        if name in seen:
            yield (
                (*path, "name"),
                f"there is another {kind} called {name!r}; give one of them a name of its own",
            )
        seen.add(name)


def no_such(kind: str, name: str, known: Iterable[str]) -> str:
    """That a name is none of those that there are."""
    names = sorted(known)
    return f"there is no {kind} called {name!r}; there is {', '.join(names) or 'none'}"
