"""The stopwatch of an attempt."""

import asyncio

from filterrelay.delivery.contact import Contact, Stage
from filterrelay.delivery.conversation import Conversation


class Watch:
    """The times of one attempt."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._began = self._connected = self._time()
        self._kept = False

    def connected(self, conversation: Conversation) -> None:
        """The transaction can begin."""
        self._connected = self._time()
        self._kept = conversation.transactions > 0

    def seen(self, conversation: Conversation | None, failed: Stage | None) -> Contact:
        """How it was in the end; None where there was no conversation."""
        now = self._time()
        if conversation is None:
            return Contact(waited=now - self._began, failed=failed)
        return Contact(
            conversation.address,
            conversation.cipher,
            conversation.peer.verified,
            self._kept,
            self._connected - self._began,
            now - self._connected,
            failed,
        )
