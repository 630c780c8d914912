"""`filterrelay dkim`: keys, their records in DNS, and whether these are published."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filterrelay.cli.common import (
    PLACES,
    ConfigOption,
    Exit,
    JsonOption,
    command,
    give_to,
    load_settings,
    print_json,
    refuse,
    relay_account,
    run,
)

if TYPE_CHECKING:  # importing them takes 0.2 s, which `--help` shouldn't cost
    from filterrelay.settings import Settings
    from filterrelay.supervisor.privileges import Account
    from filterrelay.wire.dkim_key import KeyUse, Publication, SigningKey

app = command("Make DKIM keys and DNS records, and check them.")


class KeyType(StrEnum):
    """What kinds of keys can be made."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    ED25519 = "ed25519"


KeyArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="KEY",
        help="The key's PEM file, with --domain and --selector; the configuration's keys when "
        "unsaid.",
    ),
]
DomainOption = Annotated[
    str | None, typer.Option("--domain", metavar="DOMAIN", help="The domain it signs for.")
]
SelectorOption = Annotated[
    str | None,
    typer.Option("--selector", metavar="NAME", help="The name below _domainkey in DNS."),
]
TypeOption = Annotated[KeyType, typer.Option("--type", help="What kind of key to make.")]


@app.command()
def keygen(
    key: KeyArgument = None,
    domain: DomainOption = None,
    selector: SelectorOption = None,
    kind: TypeOption = KeyType.RSA_2048,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key, or all keys of the configuration that aren't there yet."""
    from filterrelay.wire.dkim_key import write_key

    if key is not None and not (domain and selector):
        made = _new_key(kind)
        write_key(key, made)
        give_to(key, _account(config))
        if as_json:
            print_json({"key": key, "record": made.public.record})
        else:
            name = f"{selector or 'SELECTOR'}._domainkey.{domain or 'DOMAIN'}"
            print(f"wrote {key}; publish this as the TXT record {name}:\n{made.public.record}")
            print(
                "with --domain and --selector, `filterrelay dkim record` prints it for a zone file"
            )
        return
    uses = _chosen(key, domain, selector, config)
    missing = [use for use in uses if key is not None or not use.path.exists()]
    if not missing:
        refuse("all keys of the configuration are there already")
    account = _account(config)
    for use in missing:
        write_key(use.path, _new_key(kind))
        give_to(use.path, account)
        if not as_json:
            print(f"wrote {use.path}; publish this:")
            print(_zone_line(use))
    if as_json:
        print_json([_described(use) for use in missing])


@app.command()
def record(
    key: KeyArgument = None,
    domain: DomainOption = None,
    selector: SelectorOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the DNS records to publish, as a zone file has them."""
    uses = _chosen(key, domain, selector, config)
    if as_json:
        print_json([_described(use) for use in uses])
    else:
        print("\n".join(_zone_line(use) for use in uses))


@app.command()
def check(
    key: KeyArgument = None,
    domain: DomainOption = None,
    selector: SelectorOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether DNS has the keys that sign; ends with 1 when one is not published."""
    uses = _chosen(key, domain, selector, config)
    settings = load_settings(config) if key is None or config is not None else None
    found = run(_publications(uses, settings))
    if as_json:
        print_json(
            [
                {**_described(use), "state": publication.state, "text": publication.text}
                for use, publication in zip(uses, found, strict=True)
            ]
        )
    else:
        for use, publication in zip(uses, found, strict=True):
            print(f"{use.record_name}: {publication.text}")
    if not all(publication.is_good for publication in found):
        raise typer.Exit(Exit.BAD)


async def _publications(
    uses: Sequence["KeyUse"], settings: "Settings | None"
) -> list["Publication"]:
    from filterrelay.observe.clock import SystemClock
    from filterrelay.plugin.resolver import DnsResolver
    from filterrelay.plugin.signing import published
    from filterrelay.settings import Dns
    from filterrelay.wire.dkim_key import read_key

    dns = settings.dns if settings else Dns()
    resolver = DnsResolver(dns.servers, dns.timeout, SystemClock())
    try:
        return [
            await published(resolver, use.record_name, read_key(use.path).public) for use in uses
        ]
    finally:
        await resolver.close()


def _chosen(
    key: Path | None, domain: str | None, selector: str | None, config: Path | None
) -> list["KeyUse"]:
    """The key that was named, else those of the configuration, as far as they fit."""
    from filterrelay.chain.instances import signing_keys
    from filterrelay.wire.dkim_key import KeyUse

    if key is not None:
        if not (domain and selector):
            raise typer.BadParameter("a key's file needs --domain and --selector with it")
        return [KeyUse(domain, selector, key)]
    uses = [
        use
        for use in signing_keys(load_settings(config))
        if domain in (None, use.domain) and selector in (None, use.selector)
    ]
    if not uses:
        refuse("the configuration names no such DKIM key")
    return uses


def _account(config: Path | None) -> "Account | None":
    """Who must be able to read a new key: the user of the configuration, if there is one."""
    is_there = config is not None or any(place.is_file() for place in PLACES)
    return relay_account(load_settings(config) if is_there else None)


def _new_key(kind: KeyType) -> "SigningKey":
    from filterrelay.wire.dkim_key import make_key

    algorithm, _, bits = kind.value.partition("-")
    return make_key("rsa", int(bits)) if algorithm == "rsa" else make_key("ed25519")


def _zone_line(use: "KeyUse") -> str:
    from filterrelay.wire.dkim_key import read_key, zone_line

    return zone_line(use.record_name, read_key(use.path).public.record)


def _described(use: "KeyUse") -> dict[str, object]:
    from filterrelay.wire.dkim_key import read_key, record_strings

    text = read_key(use.path).public.record
    return {
        "domain": use.domain,
        "selector": use.selector,
        "key": use.path,
        "name": use.record_name,
        "record": text,
        "strings": record_strings(text),
    }
