"""Where the children come from: each with a name, an owner's name, and only its own sockets."""

import os
import secrets
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from filterrelay.settings import Settings
from filterrelay.supervisor.children import Child, control, fork, janitor, work
from filterrelay.supervisor.generation import CONTROL, Generation
from filterrelay.supervisor.privileges import Account


class Parent:
    """Forks the processes of generations. account: whom they become."""

    def __init__(self, metrics_dir: Path, account: Account | None) -> None:
        """Has no children yet."""
        self._metrics_dir = metrics_dir
        self._account = account
        self._boot = secrets.token_hex(4)
        self._forks = 0
        self._life = os.pipe()

    def start(self, generation: Generation, slot: int, others: Iterable[Generation]) -> None:
        """Forks the process of that slot. others: those whose sockets it shall not keep.

        Raises OSError when the system has no process or pipe to spare.
        """
        settings = generation.settings
        wanted = {settings.metrics.address} if slot == CONTROL else listeners(settings)
        reading, writing = os.pipe()
        child = self._child(generation, generation.name(slot), slot, writing, wanted)
        main = control if slot == CONTROL else work

        async def alone(child: Child) -> None:
            os.close(reading)
            self._let_go([generation, *others], child)
            await main(child)

        try:
            pid = fork(child, alone)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        generation.took_in(pid, child, reading)

    def clean_up(self, generation: Generation, living: Sequence[Generation]) -> int:
        """Forks a process that opens the spool and frees the mail of the dead; returns its number.

        No worker may be started until it has ended: it wouldn't be known to be
        alive. Raises OSError.
        """
        clean = janitor([owner for other in living for owner in other.owners()])
        child = self._child(generation, "janitor", CONTROL, -1, ())

        async def alone(child: Child) -> None:
            self._let_go([generation, *living], child)
            await clean(child)

        return fork(child, alone)

    def _let_go(self, generations: Iterable[Generation], child: Child) -> None:
        """Closes, in the child, what is its parent's or its siblings'."""
        os.close(self._life[1])
        for generation in generations:
            generation.let_go(child.sockets if generation.board is child.board else ())

    def _child(
        self,
        generation: Generation,
        process: str,
        slot: int,
        ready: int,
        addresses: Collection[str],
    ) -> Child:
        self._forks += 1
        kept = {where: sock for where, sock in generation.sockets.items() if where in addresses}
        return Child(
            settings=generation.settings,
            sockets=kept,
            admission=generation.admission,
            band=generation.band,
            board=generation.board,
            tls=generation.tls,
            certificate_end=generation.certificate_end,
            metrics_dir=self._metrics_dir,
            process=process,
            owner=f"{self._boot}-{self._forks}",
            slot=slot,
            life=self._life[0],
            ready=ready,
            account=self._account,
        )


def listeners(settings: Settings) -> set[str]:
    """The addresses at which workers take clients."""
    return {listener.address for listener in settings.listener}
