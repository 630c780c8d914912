"""filterrelay.toml read, checked and filled in: from a file to `Settings`."""

import re
import socket
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from filterrelay.errors import why_unreadable
from filterrelay.mail.endpoint import Endpoint, parse_endpoint
from filterrelay.observe.mail_log import SYSLOG
from filterrelay.plugin.options import UnreadableSecret, read_secret_file, resolve_path
from filterrelay.settings.checks import cross_check, warnings
from filterrelay.settings.models import Listener, Log, PluginUse, Settings, TlsFiles
from filterrelay.settings.outbound import Upstream
from filterrelay.settings.problems import Hidden, Problem, SettingsError, Source
from filterrelay.settings.toml_lines import Path as KeyPath

__all__ = ["Problem", "SettingsError", "load", "warnings"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TOML_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_SQLITE = "sqlite:///"
_OWN = (ip_network("127.0.0.0/8"), ip_network("::1/128"))  # a machine's addresses for itself


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """The settings in the file: complete, paths absolute, secrets read.

    environ: what `${NAME}` refers to. Raises SettingsError with all that is
    wrong; no message in it shows a value that came from environ or a secret file.
    """
    path = path.absolute()
    text = _read(path)
    raw = _parse(path, text)
    expansion = _Expansion(environ)
    expanded = expansion.table(raw, ())
    source = Source.of(path, text, expansion.hidden)
    problems = [source.problem(at, why) for at, why in expansion.missing]
    settings, error = _validated(expanded)
    left_out = frozenset(expanded) - settings.model_fields_set
    problems += source.explain(error, Settings) if error else ()
    settings, unusable = _completed(settings.with_source(source))
    complaints = (*unusable, *cross_check(settings, left_out))
    problems += [source.problem(at, why) for at, why in complaints]
    if problems:
        raise SettingsError(tuple(sorted(problems, key=lambda one: one.line)), settings)
    return settings


class _ValidSections(Settings):
    """What is left of a file without its faulty sections, even if no listener is."""

    listener: tuple[Listener, ...] = ()


def _validated(document: Mapping[str, Any]) -> tuple[Settings, ValidationError | None]:
    """The settings, of the valid sections alone when there are others, and what is wrong."""
    try:
        return Settings.model_validate(document), None
    except ValidationError as error:
        faulty = {details["loc"][0] for details in error.errors()}
        valid = {name: value for name, value in document.items() if name not in faulty}
        return _ValidSections.model_validate(valid), error


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except OSError as error:
        why = why_unreadable(error)
        raise SettingsError((Problem(path, 0, "", f"can't be read: {why}"),)) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError((Problem(path, line, "", "is not UTF-8 text"),)) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        matched = _TOML_LINE.search(str(error))
        line = int(matched[1]) if matched and matched[1] else text.rstrip("\n").count("\n") + 1
        why = _TOML_LINE.sub("", str(error))
        raise SettingsError((Problem(path, line, "", f"no valid TOML: {why}"),)) from None


class _Expansion:
    """`${NAME}` replaced throughout a document.

    missing: where a variable is used that isn't set. hidden: what came from the
    environment, as Source has it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.missing: list[tuple[KeyPath, str]] = []
        self.hidden: dict[KeyPath, Hidden] = {}

    def table(self, table: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        return {key: self._value(value, (*path, key)) for key, value in table.items()}

    def _value(self, value: Any, path: KeyPath) -> Any:
        match value:
            case str() if "${" in value:
                return self._text(value, path)
            case dict():
                return self.table(value, path)
            case list():
                return [self._value(item, (*path, i)) for i, item in enumerate(value)]
            case _:
                return value

    def _text(self, text: str, path: KeyPath) -> str:
        def replacement(matched: re.Match[str]) -> str:
            name = matched[1]
            if name not in self._environ:
                self.missing.append((path, f"the environment has no variable {name}"))
                return ""
            if value := self._environ[name]:
                self.hidden[path] = (*self.hidden.get(path, ()), (value, matched[0]))
            return value

        return _VARIABLE.sub(replacement, text)


def _completed(settings: Settings) -> tuple[Settings, list[tuple[KeyPath, str]]]:
    """The settings with defaults, absolute paths and secrets, and what is wrong with files."""
    base = settings.base_dir
    state_dir = resolve_path(base, settings.state_dir)
    upstreams, unusable = _upstreams(settings.upstream, base)
    complete = settings.model_copy(
        update={
            "hostname": settings.hostname or socket.getfqdn(),
            "state_dir": state_dir,
            "tls": _tls(settings.tls, base),
            "listener": _listeners(settings.listener, base),
            "upstream": upstreams,
            "spool": settings.spool.model_copy(
                update={"url": _spool_url(settings.spool.url, state_dir)}
            ),
            "log": _log(settings.log, base),
            **{
                section: tuple(map(_named, getattr(settings, section)))
                for section in ("auth", "filter", "signer", "observer")
            },
        }
    )
    return complete, unusable


def _tls(files: TlsFiles, base: Path) -> TlsFiles:
    absolute = {
        name: resolve_path(base, file)
        for name, file in (("certificate", files.certificate), ("key", files.key))
        if file is not None
    }
    return files.model_copy(update=absolute)


def _listeners(listeners: tuple[Listener, ...], base: Path) -> tuple[Listener, ...]:
    """Those without a name are called by their kind: `smtp`, `smtp-2`, …"""
    taken = {listener.name for listener in listeners}
    complete = []
    for listener in listeners:
        name, number = listener.name or listener.kind, 1
        while not listener.name and name in taken:
            number += 1
            name = f"{listener.kind}-{number}"
        taken.add(name)
        address = _absolute_socket(listener.address, base)
        update = {"name": name, "address": address, **_behind_a_server(listener)}
        complete.append(listener.model_copy(update=update))
    return tuple(complete)


def _behind_a_server(listener: Listener) -> dict[str, Any]:
    """What isn't said of a listener that a mail server stands in front of."""
    defaults = {"senders": "any", "trusted_networks": _OWN, "xclient_from": _OWN}
    if listener.kind == "smtp":
        return {}
    return {key: value for key, value in defaults.items() if key not in listener.model_fields_set}


def _absolute_socket(address: str, base: Path) -> str:
    """A Unix socket's path made absolute; other addresses as they are, good or bad."""
    try:
        endpoint = parse_endpoint(address, default_port=0)
    except ValueError:
        return address
    if not endpoint.is_unix:
        return address
    return str(Endpoint(path=str(resolve_path(base, endpoint.path))))


def _upstreams(
    upstreams: tuple[Upstream, ...], base: Path
) -> tuple[tuple[Upstream, ...], list[tuple[KeyPath, str]]]:
    complete = []
    unusable: list[tuple[KeyPath, str]] = []
    for index, upstream in enumerate(upstreams):
        update: dict[str, Any] = {
            "hosts": tuple(_absolute_socket(host, base) for host in upstream.hosts)
        }
        if upstream.username and "tls" not in upstream.model_fields_set:
            update["tls"] = "required"  # or anybody with any certificate would get the password
        if upstream.ca_file is not None:
            update["ca_file"] = resolve_path(base, upstream.ca_file)
        if upstream.password_file is not None:
            update["password_file"] = resolve_path(base, upstream.password_file)
            if upstream.password is not None:
                both = "give password or password_file, not both"
                unusable.append((("upstream", index, "password_file"), both))
            try:
                update["password"] = SecretStr(read_secret_file(base, upstream.password_file))
            except UnreadableSecret as error:
                unusable.append((("upstream", index, "password_file"), str(error)))
        complete.append(upstream.model_copy(update=update))
    return tuple(complete), unusable


def _named(use: PluginUse) -> PluginUse:
    return use if use.name else use.model_copy(update={"name": use.use})


def _log(log: Log, base: Path) -> Log:
    """A mail log's path made absolute."""
    if log.mail_log in ("", SYSLOG):
        return log
    return log.model_copy(update={"mail_log": str(resolve_path(base, Path(log.mail_log)))})


def _spool_url(url: str, state_dir: Path) -> str:
    """SQLite's path made absolute: `sqlite:///spool.sqlite` lies in state_dir."""
    if not url.startswith(_SQLITE):
        return url
    return f"{_SQLITE}{state_dir / url[len(_SQLITE) :]}"
