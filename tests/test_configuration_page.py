"""docs/configuration.md says every key of the configuration file, as the settings have it.

`FILTERRELAY_WRITE_DOCS=1 pytest tests/test_configuration_page.py` writes it anew.
"""

import os
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from filterrelay.doors.replies import BARE_LINE_END
from filterrelay.plugin.options import parse_size
from filterrelay.plugin.testing import SOME_TIME
from filterrelay.settings import Settings
from filterrelay.settings.file import load, warnings
from filterrelay.wire.certificate import self_signed

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BASE = """\
hostname = "relay.office.example"
[tls]
certificate = "c.pem"
key = "k.pem"
[[auth]]
use = "auth-file"
[[upstream]]
name = "provider"
hosts = ["smtp.provider.example:587"]
"""
INTRODUCTION = """\
# The configuration file

One TOML file; `filterrelay init DIR` writes one with comments, and
`filterrelay check` says what is wrong with it: the line, the key, and the nearest
key that there is. Relative paths are relative to the file. Durations are written
`"15m"`, `"4h"`, `"5d"`; sizes `"50 MiB"`, or as a number of octets. `${NAME}` reads the
environment, and keys that end in `_file` read a secret from a file. `[[…]]` sections may
be repeated.

## Examples

Mail clients and applications log in on port 587, which is what `init` writes. A port
where TLS begins at once:

```toml
[[listener]]
kind    = "smtp"
name    = "submissions"
address = "0.0.0.0:465"
tls     = "implicit"
auth    = "required"
```

Printers and machines that can't log in, from their own network only:

```toml
[[listener]]
kind    = "smtp"
name    = "printers"
address = "10.1.0.5:25"
tls     = "starttls"               # for those that can
trusted_networks = ["10.1.20.0/24"]
```

Mail from everybody for your own domains, as an MX takes it, with checks that are of use
there alone, and a route to where your mailboxes are:

```toml
[[listener]]
kind    = "smtp"
name    = "inbound"
address = "203.0.113.25:25"
tls     = "starttls"
relay_domains = ["office.example", "*.office.example"]

[[filter]]
use = "spf"
applies_to = ["inbound"]

[[filter]]
use = "dkim"
applies_to = ["inbound"]

[[upstream]]
name  = "mailboxes"
hosts = ["10.1.0.6:25"]

[[route]]
recipients = ["*@office.example", "*.office.example"]
upstream = "mailboxes"
```

An old device may end its lines with a bare LF. It gets `550 5.6.11`: a message in which
LF and CRLF are mixed can mean two different things to two servers, which is how mail is
smuggled (RFC 5321 section 2.3.8). Set the device to CRLF; there is no key to allow it.
"""


def sections(model: type[BaseModel], title: str = "") -> Iterator[str]:
    """A section of the page for a model, then one for each model within."""
    plain, nested = [], []
    for name, field in model.model_fields.items():
        inner = inner_model(field.annotation)
        if inner is None:
            plain.append(row(name, field))
        else:
            repeated = get_origin(field.annotation) is tuple
            nested.append((inner, f"[[{name}]]" if repeated else f"[{name}]"))
    heading = f"## `{title}`" if title else "## At the top"
    about = " ".join((model.__doc__ or "").partition("\n\n")[0].split())
    yield "\n".join(
        [heading, "", about, "", "| key | value | default | meaning |", "|---|---|---|---|", *plain]
    )
    for inner, inner_title in nested:
        yield from sections(inner, inner_title)


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model of a section, if the annotation is one or a tuple of one."""
    candidates = get_args(annotation) if get_origin(annotation) is tuple else (annotation,)
    first = candidates[0] if candidates else None
    return first if isinstance(first, type) and issubclass(first, BaseModel) else None


def row(name: str, field: FieldInfo) -> str:
    """One key's line."""
    meaning = " ".join((field.description or "").split())
    return f"| `{name}` | {kind(field.annotation, field.metadata)} | {default(field)} | {meaning} |"


def kind(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """The sort of value that is written. metadata: what stands beside an annotated type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kind(get_args(annotation)[0], get_args(annotation)[1:])
    if any(getattr(one, "func", None) is parse_size for one in metadata):
        return "size"
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin is tuple:
        return f"list of {kind(get_args(annotation)[0])}"
    if origin in (Union, UnionType):
        return kind(next(a for a in get_args(annotation) if a is not type(None)))
    if origin is dict:
        return "the plugin's own"
    names = {
        "str": "text",
        "int": "number",
        "bool": "`true` or `false`",
        "timedelta": "duration",
        "Path": "path",
        "SecretStr": "secret",
        "AddressPattern": "address pattern",
        "IPv4Network": "network",
    }
    return names[annotation.__name__]


def default(field: FieldInfo) -> str:
    """What holds when the key isn't there."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True, validated_data={})
    match value:
        case timedelta():
            return f"`{duration(value)}`"
        case bool():
            return f"`{str(value).lower()}`"
        case int() if value >= 1024**2 and value % 1024**2 == 0:
            return f"`{value // 1024**2} MiB`"
        case None | "" | () | {}:
            return ""
        case _ if value is PydanticUndefined:
            return ""
        case _:
            return f"`{value}`"


def duration(value: timedelta) -> str:
    """As the file writes it, in the largest unit that goes."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def page() -> str:
    """The whole page."""
    return "\n\n".join([INTRODUCTION.rstrip(), *sections(Settings)]) + "\n"


def test_the_page_is_current() -> None:
    """Whoever changes a key changes its line, too."""
    if os.environ.get("FILTERRELAY_WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_every_key_says_what_it_means() -> None:
    """No line of the page leaves the last column empty."""
    silent = [line for line in page().splitlines() if re.match(r"\| `.*\|\s+\|$", line)]
    assert not silent


def test_the_examples_can_be_served_as_they_stand(tmp_path: Path) -> None:
    """Put behind what a relay needs anyhow."""
    certificate, key = self_signed(["relay.office.example"], SOME_TIME)
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").touch(mode=0o600)
    (tmp_path / "k.pem").write_bytes(key)
    examples = re.findall(r"```toml\n(.*?)```", INTRODUCTION, re.DOTALL)
    file = tmp_path / "f.toml"
    file.write_text("\n".join([BASE, *examples]))
    settings = load(file, {})
    assert [one.name for one in settings.listener] == ["submissions", "printers", "inbound"]
    assert warnings(settings) == []
    assert "550 5.6.11" in str(BARE_LINE_END)
