"""Whether DNS has the keys that mail is signed with, looked at as long as it is signed."""

import asyncio
import random
from collections.abc import Iterator

import structlog

from filterrelay.chain.instances import signing_keys
from filterrelay.observe.metrics import Metrics
from filterrelay.plugin.services import Resolver
from filterrelay.plugin.signing import published
from filterrelay.settings import Settings
from filterrelay.wire.dkim_key import BadKey, KeyUse, PublicKey, Published, read_key

EVERY = 3600.0  # seconds until a published key is looked at again
SOON = 60.0  # seconds until one that isn't, or about which DNS gave no answer
_SPREAD = 0.1  # part of that by which it varies, lest all keys are asked about at once

log = structlog.get_logger(__name__)


async def watch_keys(settings: Settings, resolver: Resolver, metrics: Metrics) -> None:
    """Compares each key with DNS again and again, until it is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for use, key in _keys(settings):
            tasks.create_task(_watch(use, key, resolver, metrics))


def _keys(settings: Settings) -> Iterator[tuple[KeyUse, PublicKey]]:
    """The keys as the signers have just read them: what changes on disk then doesn't sign yet."""
    for use in signing_keys(settings):
        try:
            yield use, read_key(use.path).public
        except BadKey as error:
            log.warning("dkim_key_unreadable", reason=str(error))


async def _watch(use: KeyUse, key: PublicKey, resolver: Resolver, metrics: Metrics) -> None:
    """Looks at one key. The log hears of changes only; DNS that doesn't answer is none."""
    gauge, was_good = metrics.dkim_key_published, True
    while True:
        found = await published(resolver, use.record_name, key)
        if found.state is not Published.UNANSWERED:
            gauge.labels(use.domain, use.selector).set(found.is_good)
            if found.is_good != was_good:
                told = {"domain": use.domain, "selector": use.selector, "reason": found.text}
                if found.is_good:
                    log.info("dkim_key_published", **told)
                else:
                    log.warning("dkim_key_not_published", **told)
            was_good = found.is_good
        pause = EVERY if found.is_good else SOON
        await asyncio.sleep(pause * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311  # no secret
