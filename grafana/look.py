"""What colours and words mean, the same on all dashboards."""

from collections.abc import Iterable, Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

GREEN, AMBER, RED, PURPLE, BLUE, GREY = "green", "orange", "red", "purple", "blue", "#808080"

COLOURS: Mapping[str, str] = {
    **dict.fromkeys(("pass", "delivered", "accepted", "ok", "2xx", "success", "ready"), GREEN),
    **dict.fromkeys(("defer", "deferred", "4xx", "delay", "timeout", "too_many"), AMBER),
    **dict.fromkeys(("unavailable", "locked", "ailing", "silent", "plain", "unverified"), AMBER),
    **dict.fromkeys(("reject", "refused", "bounced", "5xx", "failure", "bad"), RED),
    **dict.fromkeys(("error", "failed", "broken", "absent"), RED),
    **dict.fromkeys(("quarantine", "quarantined"), PURPLE),
    **dict.fromkeys(("discard", "skipped", "frozen", "none", "idle", "held", "other"), GREY),
    **dict.fromkeys(("queued", "busy", "TLSv1.3", "verified", "tls"), BLUE),
    **dict.fromkeys(("TLSv1.2", "dane", "next-hop"), "light-blue"),
    **dict.fromkeys(("worker", "plugin"), BLUE),
    **dict.fromkeys(("control", "policy"), PURPLE),
    **dict.fromkeys(("p50",), GREEN),
    **dict.fromkeys(("p95",), AMBER),
    **dict.fromkeys(("p99", "limit"), RED),
}

Steps = Sequence[tuple[float, str]]  # from this value on, that colour; below the first, green


def colour(name: str) -> list[model.DynamicConfigValue]:
    """The property of a line or column that has a colour of its own."""
    return [model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": name})]


def steps(levels: Steps, first: str = GREEN) -> build.ThresholdsConfig:
    """Where a value stops being good. first: the colour of what is below all levels."""
    found = [model.Threshold(None, first), *(model.Threshold(*level) for level in levels)]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def value(number: float, text: str, colour: str) -> model.ValueMapping:
    """A word for one value."""
    return model.ValueMap({f"{number:g}": model.ValueMappingResult(text, colour)})


def between(low: float | None, high: float | None, text: str, colour: str) -> model.ValueMapping:
    """A word for all values from low to high."""
    result = model.ValueMappingResult(text, colour)
    return model.RangeMap(model.DashboardRangeMapOptions(low, high, result))


def nothing(text: str, colour: str = GREY) -> model.ValueMapping:
    """A word for no value, and for none of none."""
    result = model.ValueMappingResult(text, colour)
    return model.SpecialValueMap(
        model.DashboardSpecialValueMapOptions(model.SpecialValueMatch.NULL_AND_NAN, result)
    )


def words(colours: Mapping[str, str]) -> model.ValueMapping:
    """Colours for texts."""
    return model.ValueMap(
        {text: model.ValueMappingResult(text, colour) for text, colour in colours.items()}
    )


def names(pairs: Iterable[tuple[str, str]]) -> model.ValueMapping:
    """Other texts for texts."""
    return model.ValueMap({name: model.ValueMappingResult(text) for name, text in pairs})
