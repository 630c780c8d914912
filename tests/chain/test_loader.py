"""From the configuration to plugins in their places."""

from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from filterrelay.chain import loader
from filterrelay.chain.loader import (
    BadPlugins,
    PluginSet,
    load_plugins,
    sections_for,
    sources,
    waves,
)
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin import discovery
from filterrelay.plugin.testing import FakeClock
from filterrelay.settings import Settings
from filterrelay.settings.file import load

from .plugins import answering, step

LISTENER = {"kind": "smtp", "address": "127.0.0.1:25"}


def loaded(**sections: Any) -> PluginSet:
    """The plugins of a configuration with these sections."""
    settings = Settings.model_validate({"listener": [LISTENER], **sections})
    return load_plugins(settings, FakeClock(), Metrics(CollectorRegistry()))


def problems(**sections: Any) -> dict[str, str]:
    """What is said to be wrong."""
    with pytest.raises(BadPlugins) as caught:
        loaded(**sections)
    return {problem.key: problem.text for problem in caught.value.problems}


def test_plugins_stand_in_file_order_with_their_policies() -> None:
    """Names, time limits, failure policies and modes are the file's."""
    plugins = loaded(
        filter=[
            {"use": "spf", "timeout": "3s", "on_error": "accept"},
            {"use": "dkim", "name": "signatures", "mode": "shadow", "applies_to": ["smtp"]},
        ]
    )
    assert [s.name for s in plugins.filters] == ["spf", "signatures"]
    first, second = plugins.filters
    assert (first.policy.timeout, first.policy.on_error) == (3, "accept")
    assert (second.policy.shadow, second.policy.applies_to) == (True, frozenset({"smtp"}))


def test_all_that_is_wrong_is_said_at_once_with_its_key() -> None:
    """Unknown plugins, wrong options, and plugins in the wrong section."""
    said = problems(
        filter=[{"use": "spff"}, {"use": "spf", "options": {"x": 1}}, {"use": "auth-file"}],
        signer=[{"use": "spf"}],
    )
    assert "did you mean spf?" in said["filter[0].use"]
    assert "no such option" in said["filter[1].options.x"]
    assert set(said) >= {"signer[0].use"}
    assert said["signer[0].use"] == (
        "spf can't stand under [[signer]]: it has none of the hooks called there (sign); "
        "it belongs under [[filter]]"
    )


def test_what_is_wrong_has_its_line(tmp_path: Path) -> None:
    """As the core's own keys have."""
    file = tmp_path / "f.toml"
    file.write_text('[[listener]]\nkind = "milter"\naddress = "x:1"\n[[filter]]\nuse = "spff"\n')
    with pytest.raises(BadPlugins, match=r"f\.toml:5: filter\[0\]\.use: no such plugin"):
        load_plugins(load(file, {}), FakeClock(), Metrics(CollectorRegistry()))


def names(grouped: list[tuple[Any, ...]]) -> list[list[str]]:
    """The steps' names, wave by wave."""
    return [[s.name for s in wave] for wave in grouped]


def test_checks_share_a_wave_until_one_needs_another() -> None:
    """A plugin that reads a finding waits for it."""
    a, b = step(answering(None), "a"), step(answering(None), "b")
    c = step(answering(None, needs=("a",)), "c")
    assert names(waves([a, b, c])) == [["a", "b"], ["c"]]


def test_an_editor_is_alone() -> None:
    """What it changes is seen by all behind it, and by none beside it."""
    a, d = step(answering(None), "a"), step(answering(None), "d")
    editor = step(answering(None, edits=True), "editor")
    assert names(waves([a, editor, d])) == [["a"], ["editor"], ["d"]]


def test_a_need_is_met_by_an_instances_name_too() -> None:
    """A plugin that stands in the file twice can be told apart."""
    a, b = step(answering(None), "strict", use="a"), step(answering(None), "lax", use="a")
    c, d = step(answering(None, needs=("lax",)), "c"), step(answering(None, needs=("a",)), "d")
    assert names(waves([a, b, c])) == [["strict", "lax"], ["c"]]
    found = sources([a, b, c, d])
    assert found["c"] == {"lax": ("lax",)}
    assert found["d"] == {"a": ("strict", "lax")}


class Scores(answering(None, needs=("spf",))):  # type: ignore[misc]  # made on the fly
    """Needs what spf finds."""


@pytest.fixture
def scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin called `score`, which needs spf."""
    known = discovery.plugin_class
    monkeypatch.setattr(
        loader, "plugin_class", lambda use: Scores if use == "score" else known(use)
    )
    monkeypatch.setattr(
        loader,
        "load",
        lambda use, name, options: discovery.check(
            use, name, Scores if use == "score" else known(use), options
        ),
    )


def test_a_need_that_stands_nowhere_before_is_an_error(scoring: None) -> None:
    """The file's order is the chain's order."""
    said = problems(filter=[{"use": "score"}, {"use": "spf"}])
    assert "needs spf, which must stand before it" in said["filter[0].use"]


@pytest.mark.parametrize(
    ("spf", "score", "missing"),
    [
        ({}, {}, []),
        ({"mode": "shadow"}, {}, ["inside", "outside"]),
        ({"applies_to": ["outside"]}, {}, ["inside"]),
        ({"applies_to": ["outside"]}, {"applies_to": ["outside"]}, []),
    ],
)
def test_a_need_that_nobody_meets_is_warned_of(
    scoring: None, spf: dict[str, Any], score: dict[str, Any], missing: list[str]
) -> None:
    """A plugin on trial gives no findings, and one that is meant for other mail none there."""
    listeners = [LISTENER | {"name": "inside"}, LISTENER | {"name": "outside", "address": "x:1"}]
    filters = [{"use": "spf"} | spf, {"use": "score"} | score]
    with capture_logs() as logs:
        load_plugins(
            Settings.model_validate({"listener": listeners, "filter": filters}),
            FakeClock(),
            Metrics(CollectorRegistry()),
        )
    assert [line["listeners"] for line in logs] == ([missing] if missing else [])


@pytest.mark.parametrize(
    ("hooks", "sections"),
    [
        (("lifespan", "authenticate"), ("auth",)),
        (("on_message", "on_outcome"), ("filter",)),
        (("sign",), ("signer",)),
        (("on_outcome", "on_attempt"), ("filter", "observer")),
        (("lifespan",), ()),
    ],
)
def test_a_plugins_hooks_say_where_it_belongs(
    hooks: tuple[str, ...], sections: tuple[str, ...]
) -> None:
    """What only observes may stand in two places."""
    assert sections_for(hooks) == sections
