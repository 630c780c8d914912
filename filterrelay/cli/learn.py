"""`filterrelay learn spam|ham PATH…`: trains the plugins that learn from sorted mail."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filterrelay.cli.common import (
    ConfigOption,
    JsonOption,
    command,
    counted,
    load_settings,
    print_json,
    safe,
)
from filterrelay.cli.mail_files import (
    is_message,
    mail_files,
    must_exist,
    stored_messages,
    with_standard_input,
)
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
        metavar="PATH",
        callback=must_exist,
        help="Messages: .eml files, mbox files, Maildirs, or folders of them; - is standard input.",
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


class NoMessages(FilterRelayError):
    """None of these files holds a message: no From, Date, Subject or other such field."""

    def __str__(self) -> str:
        return (type(self).__doc__ or "").rstrip(".")


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


class Teacher:
    """The configured filters that learn, and what they have learned since.

    Raises NothingLearns, BadPlugins.
    """

    def __init__(self, settings: "Settings", kind: "Kind", filter_name: str = "") -> None:
        """kind: what the messages are. filter_name: the filter that learns alone, if said."""
        from filterrelay.chain.instances import instances_with

        self._settings = settings
        self._kind = kind
        self.lessons: dict[str, Lesson] = {}
        self._learners: dict[str, Learner] = dict(
            instances_with(settings, "filter", "learn", filter_name)
        )
        if not self._learners:
            raise NothingLearns(filter_name)

    def teach(self, messages: "Sequence[Message]") -> None:
        """Has every filter learn these messages."""
        for name in self._learners if messages else ():
            self.teach_one(name, messages)

    @property
    def names(self) -> list[str]:
        """The filters'."""
        return list(self._learners)

    def teach_one(self, name: str, messages: "Iterable[Message]") -> None:
        """Has one filter learn these messages."""
        state_dir = _state_dir(self._settings, name)
        lesson = self._learners[name].learn(self._kind, messages, state_dir)
        if before := self.lessons.get(name):
            lesson = replace(
                lesson,
                learned=before.learned + lesson.learned,
                moved=before.moved + lesson.moved,
                known=before.known + lesson.known,
            )
        self.lessons[name] = lesson

    def told(self) -> "Iterator[str]":
        """What was learned, a line a filter."""
        for name, lesson in self.lessons.items():
            yield f"{name}: {_told(lesson, self._kind)}"


def print_lessons(teacher: Teacher | None) -> None:
    """Says what was learned, if anything was to be."""
    for line in teacher.told() if teacher else ():
        print(line)


def _learn(
    kind: "Kind", paths: list[Path], settings: "Settings", filter_name: str, *, as_json: bool
) -> None:
    from rich.console import Console
    from rich.progress import Progress

    teacher = Teacher(settings, kind, filter_name)
    console = Console(stderr=True)
    with (
        with_standard_input(paths) as named,
        Progress(console=console, disable=as_json or not console.is_terminal) as progress,
    ):
        files = mail_files(named)
        for name in teacher.names:
            teacher.teach_one(name, _shown(files, progress, f"{name} learns {kind}"))
    if as_json:
        print_json({name: asdict(lesson) for name, lesson in teacher.lessons.items()})
    else:
        print_lessons(teacher)


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
    """The messages of the files, while the bar moves on by the octets read. Raises NoMessages."""
    bar = progress.add_task(title, total=sum(file.stat().st_size for file in files))
    any_is = False
    for stored in stored_messages(files):
        if is_message(stored.message):
            any_is = True
            yield stored.message
        else:
            typer.echo(safe(f"left out {stored.message.id}: it is no message"), err=True)
        progress.advance(bar, stored.octets)
    progress.update(bar, completed=progress.tasks[bar].total)
    if not any_is:
        raise NoMessages


def _told(lesson: "Lesson", kind: "Kind") -> str:
    parts = [f"learned {counted(lesson.learned)} as {kind}"]
    if lesson.moved:
        parts.append(f"moved {lesson.moved} that were learned as the other kind")
    if lesson.known:
        parts.append(f"knew {lesson.known} already")
    known = f"knows {counted(lesson.spam, 'spam ')} and {counted(lesson.ham, 'ham ')} now"
    return "; ".join((", ".join(parts), known, *([lesson.note] if lesson.note else [])))
