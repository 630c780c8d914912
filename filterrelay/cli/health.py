"""`filterrelay health`: whether the relay that runs takes mail, for whoever watches over it."""

from http.client import HTTPConnection, HTTPException
from typing import Annotated

import typer

from filterrelay.cli.common import (
    ConfigOption,
    Exit,
    JsonOption,
    command,
    load_spool_settings,
    print_json,
    refuse,
)

app = command()

TIMEOUT = 5.0  # seconds for the answer
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # as it is listened on
_MOST_READ = 65_536  # octets of an answer
OK = 200  # RFC 9110 section 15.3.1


@app.command()
def health(
    address: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where to ask; the file's [metrics] if unsaid."),
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask /readyz: exit 0 when the relay takes mail, 1 when it doesn't or gives no answer."""
    ready, said = ask(address or load_spool_settings(config).metrics.address)
    if as_json:
        print_json({"ready": ready, "troubles": [] if ready else said})
    else:
        print("\n".join(said))
    raise typer.Exit(Exit.DONE if ready else Exit.BAD)


def ask(address: str) -> tuple[bool, list[str]]:
    """Whether it is ready, and what it says, by lines. Raises Refused."""
    from filterrelay.mail.endpoint import parse_endpoint

    if not address:
        refuse("[metrics] has no address, so nobody can be asked")
    try:
        where = parse_endpoint(address)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--address") from None
    connection = HTTPConnection(_ANYWHERE.get(where.host, where.host), where.port, TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(_MOST_READ).decode(errors="replace")
    except (OSError, HTTPException) as error:
        return False, [f"no answer at {address}: {error or type(error).__name__}"]
    finally:
        connection.close()
    return answer.status == OK, text.splitlines()
