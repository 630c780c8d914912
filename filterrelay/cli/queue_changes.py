"""The verbs of `filterrelay queue` that change messages."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from filterrelay.cli.choosing import Change, change, choosing
from filterrelay.cli.common import ConfigOption, JsonOption, load_spool_settings, run
from filterrelay.cli.stored import Choice, report_change
from filterrelay.spool.store import Spool, State

if TYPE_CHECKING:
    from filterrelay.settings import Settings

_MOST_REASON = 200  # characters
_QUEUED, _HELD, _BOTH = (State.QUEUED,), (State.HELD,), (State.QUEUED, State.HELD)

NewUpstreamArgument = Annotated[
    str,
    typer.Argument(
        metavar="UPSTREAM",
        help="The upstream of the file that they shall go to, or mx.",
        show_default=False,
    ),
]
HoldReasonOption = Annotated[str, typer.Option("--reason", help="Why, for whoever looks later.")]
BounceReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the sender to read.")]
BackOption = Annotated[bool, typer.Option("--back", help="To where the routes say, again.")]


@choosing
def retry(choice: Choice, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try queued messages now."""

    async def work(spool: Spool, ids: Sequence[str], now: datetime) -> int:
        return await spool.retry(ids, now)

    _apply("retried", work, choice, _QUEUED, load_spool_settings(config), as_json=as_json)


@choosing
def hold(
    choice: Choice,
    config: ConfigOption = None,
    reason: HoldReasonOption = "by operator",
    as_json: JsonOption = False,
) -> None:
    """Set queued messages aside until they are released."""
    _must_be_short(reason)

    async def work(spool: Spool, ids: Sequence[str], now: datetime) -> int:
        return await spool.hold(ids, reason, now)

    _apply("held", work, choice, _QUEUED, load_spool_settings(config), as_json=as_json)


@choosing
def release(choice: Choice, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Put held messages back and try them now."""

    async def work(spool: Spool, ids: Sequence[str], now: datetime) -> int:
        return await spool.release(ids, now)

    _apply("released", work, choice, _HELD, load_spool_settings(config), as_json=as_json)


@choosing
def redirect(
    *,
    to: NewUpstreamArgument = "",
    choice: Choice,
    config: ConfigOption = None,
    back: BackOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send queued messages by another upstream, now; or where the routes say, by `--back ID…`.

    Held ones stay held and go there when they are released.
    """
    settings = load_spool_settings(config)
    if not back:
        if not to:
            raise typer.BadParameter("say the upstream, or --back", param_hint="UPSTREAM")
        _must_be_upstream(to, settings)
    elif to:  # the first word is an ID, then
        choice, to = replace(choice, ids=[to, *(choice.ids or ())]), ""

    async def work(spool: Spool, ids: Sequence[str], now: datetime) -> int:
        return await spool.redirect(ids, to, now)

    _apply("redirected", work, choice, _BOTH, settings, as_json=as_json)


@choosing
def bounce(
    choice: Choice,
    config: ConfigOption = None,
    reason: BounceReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give queued or held messages up: the running relay tells their senders."""
    from filterrelay.settings.routes import REJECT

    _must_be_short(reason)

    async def work(spool: Spool, ids: Sequence[str], now: datetime) -> int:
        count = await spool.redirect(ids, f"{REJECT}:{reason}", now)
        await spool.release(ids, now)
        return count

    _apply("bounced", work, choice, _BOTH, load_spool_settings(config), as_json=as_json)


@choosing
def delete(choice: Choice, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Remove queued or held messages; nobody is told."""

    async def work(spool: Spool, ids: Sequence[str], now: datetime) -> int:
        return await spool.delete(ids, now)

    _apply("deleted", work, choice, _BOTH, load_spool_settings(config), as_json=as_json)


def _apply(
    done: str,
    work: Change,
    choice: Choice,
    states: Sequence[State],
    settings: "Settings",
    *,
    as_json: bool,
) -> None:
    count, stopped = run(change(settings, choice, states, work, quiet=as_json))
    report_change(done, count, as_json=as_json, stopped=stopped)


def _must_be_short(reason: str) -> None:
    """Wrong usage when it is more than a line: it stands in tables, reports and exports."""
    if not reason.isprintable() or len(reason) > _MOST_REASON:
        why = f"one line of at most {_MOST_REASON} characters is meant"
        raise typer.BadParameter(why, param_hint="--reason")


def _must_be_upstream(name: str, settings: "Settings") -> None:
    """Wrong usage when mail can't be redirected there: it would wait for ever."""
    from filterrelay.settings.complaints import no_such
    from filterrelay.settings.routes import DIRECT

    known = {*(upstream.name for upstream in settings.upstream), DIRECT}
    if name not in known:
        raise typer.BadParameter(no_such("upstream", name, known), param_hint="UPSTREAM")
