"""The SQL by name, and many rows in one step."""

import sqlite3
from collections.abc import Iterator
from sqlite3 import Connection

import pytest

from filterrelay.spool.database import STEPS
from filterrelay.spool.statements import SQL, Bulk, Row, named, script


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with the schema."""
    memory = sqlite3.connect(":memory:", isolation_level=None)
    for step in STEPS:
        memory.executescript(script(step))
    yield memory
    memory.close()


class Anything(dict[str, None]):
    """A value for any named parameter."""

    def __missing__(self, name: str) -> None:
        return None


def explained(connection: Connection, how: str, name: str) -> list[Row]:
    """What SQLite would do for the statement."""
    sql = SQL[name]
    parameters = [None] * sql.count("?") if "?" in sql else Anything()
    return connection.execute(f"{how} {sql}", parameters).fetchall()


def test_statements_are_found_by_name() -> None:
    """A comment below the name belongs to the reader, not to the statement."""
    text = "-- A file.\n\n-- :name one\n-- Why.\nSELECT 1\n\n-- :name two\nSELECT 2\n"
    assert named(text) == {"one": "SELECT 1", "two": "SELECT 2"}


@pytest.mark.parametrize("name", sorted(SQL))
def test_each_statement_fits_the_schema(connection: Connection, name: str) -> None:
    """SQLite understands it, and every table and column in it is there."""
    assert explained(connection, "EXPLAIN", name)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("due", "SEARCH message USING INDEX message_by_wake (hop=? AND wake<?)"),
        ("orphaned", "SCAN message USING COVERING INDEX message_by_wake"),
        ("overdue_quarantined", "message_by_age (state=? AND received<?)"),
        ("events", "event_by_message (message_id=?)"),
        ("scan", "message_by_age (state=? AND (received,id)>(?,?) AND received<?)"),
        ("acts", "SEARCH event USING INDEX event_act (seq>? AND seq<?)"),
        ("unreached", "SEARCH message USING INDEX message_unreached (unreached=?)"),
        ("unreached_hops", "SEARCH message USING INDEX message_unreached (unreached>?)"),
        ("due_hops", "SEARCH message USING COVERING INDEX message_by_wake (hop>?)"),
    ],
)
def test_a_million_messages_are_searched_by_index(
    connection: Connection, name: str, index: str
) -> None:
    """What is asked all the time never reads the whole queue."""
    plan = [row[3] for row in explained(connection, "EXPLAIN QUERY PLAN", name)]
    assert any(index in step for step in plan), plan
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in plan if name == "due")


@pytest.mark.parametrize(
    "name",
    [
        *("settle_recipient", "settle_message", "delete_ended", "delete_if_ended", "living"),
        *("state", "waiting", "begin_attempt", "due", "unreached", "lease", "renew", "messages"),
        *("recipients", "body", "file", "hasten_untried", "end_leases", "in_states", "hold"),
        *("release", "hasten", "hasten_recipients", "redirect", "redirect_recipients", "delete"),
        "still_orphaned",
    ],
)
def test_what_is_done_to_a_message_costs_the_same_in_any_queue(
    connection: Connection, name: str
) -> None:
    """No table is read through for it, and nothing sorted."""
    plan = [row[3] for row in explained(connection, "EXPLAIN QUERY PLAN", name)]
    assert any(step.startswith("SEARCH ") for step in plan), plan
    for step in plan:
        assert not step.startswith(("SCAN message", "SCAN recipient", "SCAN content")), plan
        assert "TEMP B-TREE" not in step, plan
        assert "message_by_age" not in step, plan  # all in one state can be the whole queue


@pytest.mark.parametrize("count", [0, 1, 2, 3, 63, 64, 65, 200])
def test_any_number_of_rows_goes_in(connection: Connection, count: int) -> None:
    """Each row once, in order, whatever the size of the group."""
    rows = [("M1", n, "attempt", "{}") for n in range(count)]
    assert Bulk(SQL["insert_event"]).all(connection, rows) == count
    assert [n for (n,) in connection.execute("SELECT at FROM event")] == list(range(count))


def test_a_group_takes_few_steps(connection: Connection) -> None:
    """Other threads get between steps, so twenty rows must not be twenty of them."""
    rows = [("M1", n, "attempt", "{}") for n in range(20)]
    assert [count for count, _, _ in Bulk(SQL["insert_event"]).run(connection, rows)] == [16, 4]
