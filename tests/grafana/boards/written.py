"""What stands in a dashboard's JSON, as a reader of it finds it."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser

from grafana.board import Board

SUFFIXES = re.compile(r"_(bucket|sum|count)$")
_FILLED = {"$__rate_interval": "4m", "$__range": "1h"}


@cache
def written(board: Board) -> dict[str, Any]:
    """All of it."""
    return dict(json.loads(board.json()))


def panels(board: Board) -> list[dict[str, Any]]:
    """Its panels, headings left out."""
    return [panel for panel in written(board)["panels"] if panel["type"] != "row"]


def expressions(board: Board) -> Iterator[tuple[str, str]]:
    """Where each expression stands, and itself; those of annotations, too."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for event in written(board)["annotations"]["list"]:
        yield event["name"], event["expr"]


def filled(expression: str) -> str:
    """The expression with something in place of each variable."""
    for name, value in _FILLED.items():
        expression = expression.replace(name, value)
    return re.sub(r"\$\{?\w+\}?", ".*", expression)


def parsed(expression: str) -> promql_parser.Expr:
    """The expression, its variables filled. Raises ValueError."""
    return promql_parser.parse(filled(expression))


def selectors(expression: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    """Every series that an expression asks for."""
    return [node for node in _nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


def groupings(
    expression: promql_parser.Expr,
) -> Iterator[tuple[list[str], list[promql_parser.VectorSelector]]]:
    """The labels of each `by`, with the series that they group."""
    for node in _nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            yield node.modifier.labels, selectors(node.expr)


def joined(expression: promql_parser.Expr) -> set[str]:
    """The labels that an expression makes of others."""
    calls = [node for node in _nodes(expression) if isinstance(node, promql_parser.Call)]
    return {call.args[1].val for call in calls if call.func.name == "label_join"}


def _nodes(expression: promql_parser.Expr) -> list[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(expression, found.append)
    return found
