"""The benchmark's own arithmetic: a wrong scale would be worse than none."""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

import dkim
import dns.message
import dns.rcode
import pytest

from tests.bench import codec, passage, signing, site, stubdns
from tests.bench.account import Account, TreeAccount, open_account, proportional_memory
from tests.bench.client import Client, Refused
from tests.bench.deep import Depths
from tests.bench.hanging import Rates
from tests.bench.measure import Sample
from tests.bench.messages import build_pool
from tests.bench.milters import FilterRelayMilter, OpenDkim, Rspamd
from tests.bench.results import Results
from tests.bench.sink import _COUNTERS
from tests.bench.site import SigningKey, build_site
from tests.bench.targets import judge
from tests.bench.works import BIG, KEPT, KIB, MIB

_BURN = "import time\nwhile time.process_time() < 0.3: pass"
_PARENT = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {_BURN!r}]); "


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """The application's DKIM key."""
    return build_site(tmp_path_factory.mktemp("site")).app_dkim


def sample(relay: str, number: int, seconds: float, cpu: float) -> Sample:
    """A run of 100 messages of the kept work."""
    return Sample(relay, KEPT.name, number, 100, seconds, cpu, 100 * KIB * KIB, 0, [0.01])


@pytest.mark.parametrize("make", [TreeAccount, lambda: open_account("test")])
def test_time_of_ended_processes_counts(make: type[TreeAccount]) -> None:
    """A relay that does its work in short-lived children is not taken for idle."""
    account: Account = make()
    code = _PARENT + "print('done', flush=True); time.sleep(30)"
    process = subprocess.Popen(
        account.command([sys.executable, "-c", code]), stdout=subprocess.PIPE
    )
    try:
        account.adopt(process.pid)
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.25 < account.cpu_seconds() < 2.0
        assert account.pids() == [process.pid]
        assert proportional_memory(account.pids()) > 1024 * KIB
    finally:
        process.kill()
        process.communicate()
        account.close()


@pytest.mark.parametrize("size", [10 * KIB, 100 * KIB])
def test_messages_have_their_size_and_a_valid_signature(size: int, key: SigningKey) -> None:
    """What is sent is as long as the work says, and a filter that verifies finds it valid."""
    records = {f"{site.APP_SELECTOR}._domainkey.{site.APP_DOMAIN}.".encode(): key.record.encode()}
    for sending in build_pool(size, 4, 1, key.path.read_bytes()):
        assert abs(len(sending.content) - size) < size * 0.06
        assert sending.content.endswith(b"\r\n")
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", sending.content)
        unstuffed = sending.with_id("1") + sending.content.replace(b"\r\n..", b"\r\n.")
        assert dkim.verify(unstuffed, dnsfunc=lambda asked, timeout=5: records.get(asked))


def test_a_reply_may_arrive_in_any_pieces() -> None:
    """The load generator reads replies as TCP brings them."""

    async def read(pieces: list[bytes]) -> str:
        client = Client()
        for piece in pieces:
            client.data_received(piece)
        with pytest.raises(Refused) as refused:
            await client._expect(354, "DATA")
        assert not refused.value.temporary
        return str(refused.value.reply)

    whole = b"250-relay\r\n250 SIZE 100\r\n"
    for cut in range(len(whole)):
        assert asyncio.run(read([whole[:cut], whole[cut:]])) == "250 relay / SIZE 100"


def test_the_last_counter_of_the_sink_wins() -> None:
    """smtp-sink overwrites one line of a terminal; a cut number is not taken for a whole one."""
    shown = b"sess=1 quit=0 mesg=7\rsess=1 quit=0 mesg=12\rsess=1 quit=0 mesg=1"
    assert [int(found[1]) for found in _COUNTERS.finditer(shown)] == [7, 12]


def test_the_stub_name_server_knows_its_domains_only() -> None:
    """Keys and policies are found, all else doesn't exist, nothing is asked elsewhere."""
    texts = {site.DOMAIN: "v=spf1 -all", f"s1._domainkey.{site.DOMAIN}": "v=DKIM1; p=" + "A" * 390}

    def ask(name: str, kind: str) -> dns.message.Message:
        return stubdns.answer(dns.message.make_query(name, kind), texts)

    strings = ask(f"s1._domainkey.{site.DOMAIN}", "TXT").answer[0][0].strings
    assert b"".join(strings).endswith(b"A" * 390)
    assert ask(site.DOMAIN, "AAAA").rcode() == dns.rcode.NOERROR
    assert ask(site.DOMAIN, "AAAA").answer == []
    assert ask("elsewhere.example", "TXT").rcode() == dns.rcode.NXDOMAIN


def test_relays_are_compared_within_a_round() -> None:
    """A round in which the whole machine was slow doesn't shift the comparison."""
    results = Results(
        [
            *(sample("postfix", number, slow, slow) for number, slow in ((1, 1.0), (2, 9.0))),
            *(sample("filterrelay", number, slow, slow) for number, slow in ((1, 0.5), (2, 4.5))),
        ]
    )
    cpu = results.ratio(lambda one: one.cpu_per_thousand, "filterrelay", "postfix", KEPT.name)
    assert cpu == pytest.approx(0.5)
    met = {target.text: target.met for target in judge(results, [KEPT.name])}
    assert met[f"{KEPT.title}: CPU of Postfix+OpenDKIM's"] is True
    assert met[f"{KEPT.title}: rate of Postfix+OpenDKIM's"] is True
    assert met[f"{KEPT.title}: rate of Haraka's"] is None


def test_what_is_not_met_is_said(tmp_path: Path) -> None:
    """A relay slower than promised shows as such, in the table and in the file."""
    results = Results([sample("postfix", 1, 1.0, 1.0), sample("filterrelay", 1, 1.0, 0.7)])
    met = {target.text: target.met for target in judge(results, [KEPT.name])}
    assert met[f"{KEPT.title}: CPU of Postfix+OpenDKIM's"] is False
    results.write_json(tmp_path / "bench.json", {"started": time.time()})
    assert '"cpu_seconds_per_1000": 7.0' in (tmp_path / "bench.json").read_text()


def test_rates_are_compared_round_by_round() -> None:
    """What else the machine does in one round says nothing of the others."""
    assert Rates().target().met is None
    assert Rates([400.0, 100.0, 300.0], [390.0, 99.0, 150.0]).target().measured == "0.97"
    assert Rates([100.0], [94.0]).target().met is False


def test_the_codecs_speed_is_counted() -> None:
    """In events, with the macros that come among them."""
    assert codec.Speed().target().met is None
    assert codec.Speed(199_999.0).target().met is False
    assert codec.measure(1).rate


def test_what_the_proxy_door_adds_is_judged() -> None:
    """By the medians: one slow message says nothing."""
    assert passage.Times().target().met is None
    assert passage.Times([0.001] * 3, [0.004, 0.9, 0.004]).target().measured == "3.0 ms"
    assert passage.Times([0.001], [0.0061]).target().met is False


def test_milters_are_judged_beside_both_others() -> None:
    """CPU at most OpenDKIM's and half of rspamd's, a rate of neither less."""
    runs = ((OpenDkim, 2.0, 2.0), (Rspamd, 2.0, 3.0), (FilterRelayMilter, 1.9, 1.6))
    results = Results([sample(each.name, 1, seconds, cpu) for each, seconds, cpu in runs])
    met = {target.text: target.met for target in signing.targets(results)}
    assert met[f"milter, {KEPT.title}: CPU of OpenDKIM's"] is True
    assert met[f"milter, {KEPT.title}: CPU of rspamd dkim_signing's"] is False
    assert met[f"milter, {KEPT.title}: rate of OpenDKIM's"] is True
    assert met[f"milter, {BIG.title}: rate of OpenDKIM's"] is None


def test_a_deep_queues_tenths_are_compared() -> None:
    """The rate at the end by that at the start, whatever was between."""
    depths = Depths(1000, 500.0, tuple([100.0] * 2 + [1.0] * 16 + [90.0] * 2), drain_rate=200.0)
    assert depths.accepted_at_the_end == 0.9
    judged = {target.text: target.met for target in depths.targets()}
    assert judged["accept rate, last tenth by first"]
    assert not judged["drain by fresh mail's rate"]


@pytest.mark.parametrize(
    ("clean_file", "seconds", "met"), [(20, 600.0, True), (1000, 60.0, True), (1000, 600.0, False)]
)
def test_a_file_that_shrinks_fast_is_as_good_as_a_clean_one(
    clean_file: int, seconds: float, met: bool
) -> None:
    """How long it may take goes with how much is to be given back."""
    depths = Depths(1000, 500.0, (1.0,), full_file=3000 * MIB, reply_p99=0.03)
    depths.clean_file, depths.cleaned_in = clean_file * MIB, seconds
    depths.cleaning_p99, depths.cleaning_slowest = 0.1, 0.2
    judged = {target.text: target.met for target in depths.targets()}
    assert judged["file after cleaning, or MiB given back a minute"] is met
    assert not judged["replies' p99 while cleaning"]
    assert judged["slowest reply while cleaning"]
