"""How commands lay out what they print: a terminal gets text folded, a pipe whole lines."""

import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from filterrelay.cli.common import safe

_GAP = "  "
_LEAST = 20  # columns that a table's last column needs, to be one
_NUMBERS = ("size", "attempts", "ms")


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
    """Prints rows as a table; what is in them is shown as it is, never as markup.

    The last column is free text and is folded between words; nothing else is broken:
    rows that are too wide for the terminal become paragraphs.
    """
    table = [[safe(cell).replace("\n", " ") for cell in row] for row in (titles, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    start = len(indent) + sum(width + len(_GAP) for width in widths[:-1])
    total = columns()
    if total is not None and total - start < min(widths[-1], _LEAST):
        for row in table[1:]:
            _print_paragraph(titles, row, indent, total)
        return
    for row in table:
        cells = [
            cell.rjust(width) if title in _NUMBERS else cell.ljust(width)
            for title, cell, width in zip(titles, row[:-1], widths, strict=False)
        ]
        head = indent + "".join(cell + _GAP for cell in cells)
        for line in _folded(row[-1], total, head, " " * start):
            print(line)


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
