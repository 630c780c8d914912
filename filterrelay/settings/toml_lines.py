"""On which line each key of a TOML document stands; tomllib doesn't say."""

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\r\n]*")
_ESCAPE = re.compile(r"\\(.)")


def key_lines(text: str) -> dict[Path, int]:
    """The line, counted from 1, of each table, key and array element by its path.

    text: a document that tomllib has accepted; for others the result is a guess.
    """
    return _Scanner(text).scan()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of the path or of the nearest table around it; 0 when nothing is known."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 0


class _Scanner:
    """Walks over the document once, noting where keys stand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0  # up to where line ends are in _line
        self._last: dict[Path, int] = {}  # arrays of tables and the index of their last one
        self.lines: dict[Path, int] = {}

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip_blank()
        while self._at < len(self._text):
            before = self._at
            if self._peek("["):
                table = self._header()
            else:
                self._key_value(table)
            self._skip_blank()
            if self._at == before:
                break  # not TOML after all
        return self.lines

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        names = self._keys()
        closed = self._text.find("]", self._at)
        self._at = closed + (2 if is_array else 1) if closed >= 0 else len(self._text)
        path: Path = ()
        for name in names[:-1]:
            path = self._inside((*path, name))
        path = (*path, names[-1]) if names else path
        if is_array:
            self._note(path)
            self._last[path] = self._last.get(path, -1) + 1
        path = self._inside(path)
        self._note(path)
        return path

    def _inside(self, path: Path) -> Path:
        """The path itself, or the last table of the array it names."""
        return (*path, self._last[path]) if path in self._last else path

    def _key_value(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._keys())
        for end in range(len(table) + 1, len(path) + 1):
            self._note(path[:end], start)
        if self._peek("="):
            self._at += 1
            self._skip_blank()
            self._value(path)

    def _keys(self) -> list[str]:
        keys: list[str] = []
        while True:
            self._skip_blank()
            if matched := _STRING.match(self._text, self._at):
                keys.append(_ESCAPE.sub(r"\1", matched.group()[1:-1]))
            elif matched := _BARE_KEY.match(self._text, self._at):
                keys.append(matched.group())
            else:
                return keys
            self._at = matched.end()
            self._skip_blank()
            if not self._peek("."):
                return keys
            self._at += 1

    def _value(self, path: Path) -> None:
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline_table(path)
        else:
            matched = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            assert matched is not None  # the scalar's pattern matches everywhere
            self._at = matched.end()

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while not self._closed("]"):
            before = self._at
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._end_item(before)

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while not self._closed("}"):
            before = self._at
            self._key_value(path)
            self._end_item(before)

    def _closed(self, bracket: str) -> bool:
        self._skip_blank()
        if self._at >= len(self._text):
            return True
        if self._peek(bracket):
            self._at += 1
            return True
        return False

    def _end_item(self, before: int) -> None:
        self._skip_blank()
        if self._peek(",") or self._at == before:
            self._at += 1

    def _peek(self, mark: str) -> bool:
        return self._text.startswith(mark, self._at)

    def _skip_blank(self) -> None:
        matched = _BLANK.match(self._text, self._at)
        assert matched is not None  # the pattern matches everywhere
        self._at = matched.end()

    def _note(self, path: Path, at: int | None = None) -> None:
        at = self._at if at is None else at
        if at > self._counted:
            self._line += self._text.count("\n", self._counted, at)
            self._counted = at
        self.lines.setdefault(path, self._line)
