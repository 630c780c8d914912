"""`filterrelay learn spam|ham PATH…`: trains the plugins that learn from sorted mail."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filterrelay.cli.common import ConfigOption, JsonOption, command, load_settings, print_json
from filterrelay.errors import FilterRelayError

if TYPE_CHECKING:
    from rich.progress import Progress

    from filterrelay.mail.message import Message
    from filterrelay.plugin.learning import Kind, Learner, Lesson
    from filterrelay.settings import Settings

app = command("Train the filters that learn, from .eml files, mbox files and Maildirs.")

PathsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PATH…",
        exists=True,
        readable=True,
        help="Messages: .eml files, mbox files, Maildirs, or folders of them.",
    ),
]
FilterOption = Annotated[
    str, typer.Option("--filter", metavar="NAME", help="Train this filter alone.")
]


@dataclass
class NothingLearns(FilterRelayError):
    """No filter in the configuration learns."""

    filter: str

    def __str__(self) -> str:
        if self.filter:
            return f"the configuration has no filter {self.filter} that learns"
        return "no [[filter]] in the configuration learns"


@app.command()
def spam(
    paths: PathsArgument,
    config: ConfigOption = None,
    filter_name: FilterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Learn that these messages are spam."""
    _learn("spam", paths, load_settings(config), filter_name, as_json=as_json)


@app.command()
def ham(
    paths: PathsArgument,
    config: ConfigOption = None,
    filter_name: FilterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Learn that these messages are wanted."""
    _learn("ham", paths, load_settings(config), filter_name, as_json=as_json)


def _learn(
    kind: "Kind", paths: list[Path], settings: "Settings", filter_name: str, *, as_json: bool
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from filterrelay.cli.mail_files import mail_files

    learners = _learners(settings, filter_name)
    files = mail_files(paths)
    lessons: dict[str, Lesson] = {}
    with Progress(console=Console(stderr=True), disable=as_json) as progress:
        for name, learner in learners.items():
            messages = _shown(files, progress, f"{name} learns {kind}")
            lessons[name] = learner.learn(kind, messages, _state_dir(settings, name))
    if as_json:
        print_json({name: asdict(lesson) for name, lesson in lessons.items()})
        return
    for name, lesson in lessons.items():
        print(f"{name}: {_told(lesson, kind)}")


def _learners(settings: "Settings", filter_name: str) -> "dict[str, Learner]":
    """The configured filters that learn, by name. Raises NothingLearns, BadPlugins."""
    from filterrelay.cli.instances import instances_with

    found: dict[str, Learner] = dict(instances_with(settings, "filter", "learn", filter_name))
    if not found:
        raise NothingLearns(filter_name)
    return found


def _state_dir(settings: "Settings", name: str) -> Path:
    """The plugin's state directory; made by root, it belongs to whom the relay's belongs to."""
    settings.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    directory = settings.state_dir / name
    directory.mkdir(mode=0o750, exist_ok=True)
    if os.geteuid() == 0:
        owner = settings.state_dir.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
    return directory


def _shown(files: list[Path], progress: "Progress", title: str) -> "Iterator[Message]":
    """The messages of the files, while the bar moves on by the octets read."""
    from filterrelay.cli.mail_files import stored_messages

    bar = progress.add_task(title, total=sum(file.stat().st_size for file in files))
    for stored in stored_messages(files):
        yield stored.message
        progress.advance(bar, stored.octets)
    progress.update(bar, completed=progress.tasks[bar].total)


def _told(lesson: "Lesson", kind: "Kind") -> str:
    parts = [f"learned {lesson.learned} messages as {kind}"]
    if lesson.moved:
        parts.append(f"moved {lesson.moved} that were learned as the other kind")
    if lesson.known:
        parts.append(f"knew {lesson.known} already")
    known = f"knows {lesson.spam} spam and {lesson.ham} ham messages now"
    return "; ".join((", ".join(parts), known, *([lesson.note] if lesson.note else [])))
