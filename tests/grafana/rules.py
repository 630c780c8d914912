"""The rules of grafana/alerts/ and their unit tests, as a reader of them finds them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from filterrelay.observe.metrics import Series
from grafana.series import PROMETHEUS, TARGET, M

FOLDER = Path(__file__).parent.parent.parent / "grafana" / "alerts"
FILES = sorted(FOLDER.glob("*.yaml"))
TESTS = sorted((FOLDER / "tests").glob("*.yaml"))

_ABOUT = re.compile(r'ALERTS\{alertname=(~?)"([^"]+)"')
_SEVERITY = re.compile(r'severity="(\w+)"')
_ANY = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule. lasts: its `for`, empty without."""

    name: str
    expression: str
    lasts: str
    severity: str
    labels: frozenset[str]
    annotations: Mapping[str, str]

    @property
    def page(self) -> str:
        """Its page's name: FilterrelayQueueGrowing's is queue-growing."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", self.name.removeprefix("Filterrelay")).lower()


def _rules() -> Iterator[Mapping[str, Any]]:
    for file in FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [
    Alert(
        rule["alert"],
        rule["expr"],
        rule.get("for", ""),
        rule["labels"].get("severity", ""),
        frozenset(rule["labels"]),
        rule["annotations"],
    )
    for rule in _rules()
    if "alert" in rule
]
RECORDED = {rule["record"]: rule["expr"] for rule in _rules() if "record" in rule}


def labels_of(node: promql.Expr, series: Mapping[str, Series]) -> frozenset[str]:
    """The labels that what an expression finds can have."""
    match node:
        case promql.AggregateExpr():
            return frozenset(node.modifier.labels) if node.modifier else _ANY
        case promql.VectorSelector() if node.name in RECORDED:
            return labels_of(promql.parse(RECORDED[node.name]), series)
        case promql.VectorSelector():
            return frozenset((*series[node.name or ""].labels, *TARGET))
        case promql.MatrixSelector():
            return labels_of(node.vector_selector, series)
        case promql.Call():
            return _ANY.union(*(labels_of(each, series) for each in node.args))
        case promql.BinaryExpr():
            left, right = labels_of(node.lhs, series), labels_of(node.rhs, series)
            return left | right if str(node.op) == "or" else left or right
        case promql.ParenExpr() | promql.UnaryExpr():
            return labels_of(node.expr, series)
        case _:
            return _ANY


@cache
def known() -> dict[str, Series]:
    """Every series that is scraped, by name."""
    return {one.name: one for one in (*M.series(), *PROMETHEUS)}


@cache
def checks(kind: str) -> set[tuple[str, str]]:
    """What the unit tests look at: alerts with their severity when firing, with none when quiet.

    kind: `firing` or `quiet`.
    """
    found = set()
    for test in (test for file in TESTS for test in yaml.safe_load(file.read_text())["tests"]):
        for check in test["promql_expr_test"]:
            for pattern, about in _ABOUT.findall(check["expr"]):
                names = {alert.name for alert in ALERTS if re.fullmatch(about, alert.name)}
                assert names, f"{about} is no alert's name"
                samples = check["exp_samples"]
                if kind == "quiet" and not samples:
                    found |= {(name, "") for name in names}
                elif kind == "firing" and samples:
                    assert not pattern, f"{check['expr']}: which one fires?"
                    for sample in samples:
                        found |= {(about, word) for word in _SEVERITY.findall(sample["labels"])}
    return found
