"""How commands lay out what they print: a terminal gets text folded, a pipe whole lines."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from filterrelay.cli.common import safe

_GAP = "  "
_LEAST = 20  # columns that a table's last column needs, to be one
_NUMBERS = ("size", "attempts", "messages", "ms")


def columns() -> int | None:
    """The terminal's width; None for what is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_text(text: object, indent: str = "") -> None:
    """Prints a paragraph, its further lines indented more."""
    for line in _folded(safe(text), columns(), indent, indent + _GAP):
        print(line)


def print_fields(fields: Mapping[str, str]) -> None:
    """Prints names and values, those that are empty left out."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value:
            print(f"{name:<{width}}  {safe(value)}")


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Prints rows as a table, all of them at once."""
    Table(titles, indent).print(rows)


class Table:
    """A table whose rows are printed as they come; what is in them is never markup.

    The last column is free text and is folded between words; nothing else is broken:
    rows that are too wide for the terminal become paragraphs. The columns are as wide as
    the rows so far need.
    """

    def __init__(self, titles: Sequence[str], indent: str = "") -> None:
        self._titles = titles
        self._indent = indent
        self._widths = [0] * len(titles)
        self._begun = False

    def print(self, rows: Sequence[Sequence[str]]) -> None:
        """Prints these rows, below the titles or what was printed before."""
        table = [[safe(cell).replace("\n", " ") for cell in row] for row in (self._titles, *rows)]
        columns_ = zip(self._widths, zip(*table, strict=True), strict=True)
        self._widths = [max(width, *map(len, column)) for width, column in columns_]
        start = len(self._indent) + sum(width + len(_GAP) for width in self._widths[:-1])
        total = columns()
        if total is not None and total - start < min(self._widths[-1], _LEAST):
            for row in table[1:]:
                _print_paragraph(self._titles, row, self._indent, total)
            return
        for row in table[self._begun :]:
            for line in _folded(row[-1], total, self._head(row), " " * start):
                print(line)
        self._begun = True

    def _head(self, row: Sequence[str]) -> str:
        """The row's cells but the last, each as wide as its column."""
        cells = [
            cell.rjust(width) if title in _NUMBERS else cell.ljust(width)
            for title, cell, width in zip(self._titles, row[:-1], self._widths, strict=False)
        ]
        return self._indent + "".join(cell + _GAP for cell in cells)


def _print_paragraph(titles: Sequence[str], row: Sequence[str], indent: str, total: int) -> None:
    """The first cell, then the others with their titles, as many on a line as fit."""
    print(indent + row[0])
    further = indent + _GAP * 2
    line = ""
    for title, cell in zip(titles[1:], row[1:], strict=True):
        piece = f"{title}: {cell}"
        if not cell:
            continue
        if line and len(line) + len(_GAP) + len(piece) <= total:
            line += _GAP + piece
            continue
        if line:
            print(line)
        *before, line = _folded(piece, total, further, further + _GAP)
        for whole in before:
            print(whole)
    print(line)


def _folded(text: str, total: int | None, first: str, further: str) -> Iterator[str]:
    """The text's lines, folded between words to so many columns; words stay whole."""
    if total is None or not text.strip():
        yield f"{first}{text}".rstrip()
        return
    yield from textwrap.wrap(
        text,
        total,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
