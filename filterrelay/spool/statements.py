"""The SQL statements, read by name from queries/, and given many rows in one step."""

import re
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import chain
from sqlite3 import Connection
from typing import Any

Row = tuple[Any, ...]

_SECTION = re.compile(r"^-- :name (\w+)\n((?:--.*\n)*)", re.MULTILINE)
_ROW = re.compile(r"(?<=VALUES )\([?, ]+\)")
_SIZES = (64, 32, 16, 8, 4, 2, 1)  # so few that all of them stay prepared


def script(name: str) -> str:
    """The whole text of one file of queries/."""
    return (resources.files("filterrelay.spool") / "queries" / name).read_text("utf-8")


def named(text: str) -> dict[str, str]:
    """The statements of a file by the names written above them."""
    parts = _SECTION.split(text)
    return {name: sql.strip() for name, _comment, sql in zip(*[iter(parts[1:])] * 3, strict=True)}


class Bulk:
    """A statement that takes many rows in one step.

    The sqlite3 module lets other threads run between any two steps; a step a
    row would let a busy event loop hold up a commit as often as it has rows.
    """

    def __init__(self, sql: str) -> None:
        row = _ROW.search(sql)
        assert row is not None
        before, after = sql[: row.start()], sql[row.end() :]
        self._by_size = [
            (size, before + ", ".join([row.group()] * size) + after) for size in _SIZES
        ]

    def run(self, connection: Connection, rows: Sequence[Row]) -> Iterator[tuple[int, int, int]]:
        """Executes it, yielding for each step its count of rows, rowcount and lastrowid."""
        at = 0
        for size, sql in self._by_size:
            while len(rows) - at >= size:
                values = list(chain.from_iterable(rows[at : at + size]))
                cursor = connection.execute(sql, values)
                yield size, cursor.rowcount, cursor.lastrowid or 0
                at += size

    def all(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Executes it; returns how many rows of the table it changed."""
        return sum(changed for _, changed, _ in self.run(connection, rows))


SQL = named(script("sqlite.sql"))
INSERT_CONTENT = Bulk(SQL["insert_content"])
INSERT_MESSAGE = Bulk(SQL["insert_message"])
INSERT_RECIPIENT = Bulk(SQL["insert_recipient"])
INSERT_EVENT = Bulk(SQL["insert_event"])
DELETE_ENDED = Bulk(SQL["delete_ended"])
