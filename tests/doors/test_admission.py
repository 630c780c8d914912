"""Limits hold over all workers together, and a worker's crash frees what it held."""

from datetime import timedelta

from filterrelay.doors.admission import (
    ALL_CLIENTS,
    OTHER_LOGINS,
    Admission,
    Refusal,
    WorkerAdmission,
)
from filterrelay.settings import Limits

LIMITS = Limits(
    connections=4, connections_per_client=2, login_failures=3, lockout=timedelta(minutes=15)
)
LOCKOUT = LIMITS.lockout.total_seconds()


def test_connections_are_counted_over_all_workers() -> None:
    """A client that reaches different workers is still one client."""
    table = Admission(2)
    first, second = table.for_worker(0), table.for_worker(1)
    assert first.enter("192.0.2.1", LIMITS) is None
    assert second.enter("192.0.2.1", LIMITS) is None
    assert first.enter("192.0.2.1", LIMITS) is Refusal.TOO_MANY_FROM_CLIENT
    assert first.enter("192.0.2.2", LIMITS) is None
    assert first.enter("192.0.2.3", LIMITS) is None
    assert second.enter("192.0.2.4", LIMITS) is Refusal.TOO_MANY
    second.leave("192.0.2.1")
    assert second.enter("192.0.2.4", LIMITS) is None


def test_a_site_with_ipv6_is_one_client() -> None:
    """All addresses of a /64 count together."""
    worker = Admission(1).for_worker(0)
    assert worker.enter("2001:db8::1", LIMITS) is None
    assert worker.enter("2001:db8::2", LIMITS) is None
    assert worker.enter("2001:db8::3", LIMITS) is Refusal.TOO_MANY_FROM_CLIENT
    assert worker.enter("2001:db8:0:1::1", LIMITS) is None


def test_local_clients_count_in_all_only() -> None:
    """Clients without an address don't shut each other out."""
    worker = Admission(1).for_worker(0)
    assert [worker.enter("", LIMITS) for _ in range(4)] == [None] * 4
    assert worker.enter("", LIMITS) is Refusal.TOO_MANY


def test_a_connection_of_a_mail_server_counts_for_its_client_too() -> None:
    """Once in all, and for as long as it is that client's."""
    worker = Admission(1).for_worker(0)
    for _ in range(3):
        assert worker.enter("", LIMITS) is None
    assert worker.take_place("192.0.2.1", LIMITS) is None
    assert worker.take_place("192.0.2.1", LIMITS) is None
    assert worker.take_place("192.0.2.1", LIMITS) is Refusal.TOO_MANY_FROM_CLIENT
    worker.give_place("192.0.2.1")
    assert worker.take_place("192.0.2.1", LIMITS) is None
    assert worker.enter("", LIMITS) is None
    assert worker.enter("", LIMITS) is Refusal.TOO_MANY


def test_a_dead_worker_s_connections_are_forgotten() -> None:
    """After a crash nobody stays locked out by connections that are gone."""
    table = Admission(2)
    dead, alive = table.for_worker(0), table.for_worker(1)
    for _ in range(2):
        dead.enter("192.0.2.1", LIMITS)
    alive.enter("192.0.2.2", LIMITS)
    table.clear_worker(0)
    assert alive.enter("192.0.2.1", LIMITS) is None
    assert sum(table.totals) == 2


def test_leaving_more_often_than_entering_breaks_nothing() -> None:
    """A count never wraps around."""
    worker = Admission(1).for_worker(0)
    worker.leave("192.0.2.1")
    assert worker.enter("192.0.2.1", LIMITS) is None


HOME, CAFE = "192.0.2.1", "192.0.2.9"


def fail(worker: WorkerAdmission, times: int, client: str, login: str) -> list[int]:
    """That many failed logins."""
    return [worker.login_failed(client, login, LIMITS, 1000.0) for _ in range(times)]


def test_failures_lock_out_the_login_from_that_client() -> None:
    """Those seen by different workers add up; others behind the address go on working."""
    table = Admission(2)
    workers = table.for_worker(0), table.for_worker(1)
    assert fail(workers[0], 1, HOME, "anna") + fail(workers[1], 2, HOME, "anna") == [1, 2, 3]
    for worker in workers:
        assert worker.locked(HOME, "ANNA", LIMITS, 1000.0)
        assert not worker.locked(HOME, "bert", LIMITS, 1000.0)
        assert not worker.locked(CAFE, "anna", LIMITS, 1000.0)


def test_a_login_that_many_clients_guess_is_locked_but_where_it_is_known() -> None:
    """A swarm can't go on guessing, and can't shut out the login's own office either."""
    worker = Admission(1).for_worker(0)
    worker.login_succeeded(HOME, "anna", LIMITS, 1000.0)
    for number in range(ALL_CLIENTS):
        assert not worker.locked(CAFE, "anna", LIMITS, 1000.0)
        fail(worker, LIMITS.login_failures, f"198.51.100.{number}", "anna")
    assert worker.locked(CAFE, "anna", LIMITS, 1000.0)
    assert not worker.locked(HOME, "anna", LIMITS, 1000.0)
    assert not worker.locked(CAFE, "bert", LIMITS, 1000.0)


def test_a_client_that_tries_many_logins_is_locked_out_with_all_but_known_ones() -> None:
    """One phone that fails for ever with one login is no guesser."""
    worker = Admission(1).for_worker(0)
    worker.login_succeeded(HOME, "anna", LIMITS, 1000.0)
    fail(worker, 30, HOME, "phone")
    most = LIMITS.login_failures * OTHER_LOGINS
    for number in range(most - 2):
        fail(worker, 1, HOME, f"user{number}")
    assert not worker.locked(HOME, "bert", LIMITS, 1000.0)
    fail(worker, 1, HOME, "root")
    assert worker.locked(HOME, "bert", LIMITS, 1000.0)
    assert not worker.locked(HOME, "anna", LIMITS, 1000.0)
    assert not worker.locked(CAFE, "bert", LIMITS, 1000.0)


def test_a_lock_out_ends() -> None:
    """After limits.lockout the count begins anew."""
    worker = Admission(1).for_worker(0)
    for _ in range(3):
        worker.login_failed("192.0.2.1", "anna", LIMITS, 1000.0)
    assert worker.locked("192.0.2.1", "anna", LIMITS, 1000.0 + LOCKOUT - 1)
    assert not worker.locked("192.0.2.1", "anna", LIMITS, 1000.0 + LOCKOUT)
    assert worker.login_failed("192.0.2.1", "anna", LIMITS, 1000.0 + LOCKOUT) == 1


def test_a_good_login_forgives_itself_and_no_others() -> None:
    """A mistyped password is forgotten; who knows one may not use it to go on guessing others."""
    worker = Admission(1).for_worker(0)
    most = LIMITS.login_failures * OTHER_LOGINS
    for number in range(most):
        fail(worker, 1, HOME, f"user{number}")
    worker.login_succeeded(HOME, "user0", LIMITS, 1000.0)
    assert not worker.locked(HOME, "bert", LIMITS, 1000.0)
    for _ in range(9):
        worker.login_succeeded(HOME, "user0", LIMITS, 1000.0)
    fail(worker, 1, HOME, "root")
    assert worker.locked(HOME, "bert", LIMITS, 1000.0)
    assert fail(worker, 1, HOME, "user1") == [most]


def test_places_can_t_be_foreseen() -> None:
    """Each start has a key of its own, so nobody can choose addresses that share a place."""
    names = [f"192.0.2.{n}" for n in range(50)]
    places = [[Admission(1).place(b"client", n) for n in names] for _ in range(2)]
    assert places[0] != places[1]


def test_a_worker_with_more_connections_than_another_is_ahead() -> None:
    """It leaves the next client to the other, so that kept connections spread."""
    table = Admission(2)
    first, second = table.for_worker(0), table.for_worker(1)
    assert not first.is_ahead()
    first.enter("192.0.2.1", Limits())
    assert first.is_ahead()
    assert not second.is_ahead()
    second.enter("192.0.2.2", Limits())
    assert not first.is_ahead()


def test_workers_of_several_bands_share_the_limits() -> None:
    """What a client did before a reload counts after it: connections and failed logins."""
    table = Admission(1, bands=2)
    before, after = table.for_worker(0, 0), table.for_worker(0, 1)
    for _ in range(2):
        assert before.enter("192.0.2.1", LIMITS) is None
    assert after.enter("192.0.2.1", LIMITS) is Refusal.TOO_MANY_FROM_CLIENT
    table.clear_worker(0, 0)
    assert after.enter("192.0.2.1", LIMITS) is None
    for _ in range(3):
        before.login_failed("192.0.2.1", "anna", LIMITS, 0.0)
    assert after.locked("192.0.2.1", "anna", LIMITS, 1.0)
    after.login_succeeded("192.0.2.1", "anna", LIMITS, 1.0)
    assert not after.locked("192.0.2.1", "anna", LIMITS, 1.0)


def test_a_worker_is_ahead_of_its_own_band_only() -> None:
    """Workers that take no clients any more are no reason to wait for them."""
    table = Admission(2, bands=2)
    one, other = table.for_worker(0, 1), table.for_worker(1, 1)
    one.enter("192.0.2.1", LIMITS)
    assert one.is_ahead()
    other.enter("192.0.2.2", LIMITS)
    assert not one.is_ahead()
