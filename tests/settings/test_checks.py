"""What must fit together in filterrelay.toml, and what is dangerous though it works."""

import subprocess
from pathlib import Path

import pytest

from filterrelay.settings.file import SettingsError, load, warnings

LISTENER = '[[listener]]\nkind = "smtp"\naddress = "127.0.0.1:2525"\n'
UPSTREAM = '[[upstream]]\nname = "provider"\nhosts = ["smtp.provider.example:587"]\n'
GOOD = 'hostname = "relay.office.example"\n' + LISTENER + UPSTREAM


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two self-signed certificates, a and b."""
    directory = tmp_path_factory.mktemp("pki")
    for name in "ab":
        subprocess.run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
            f"-keyout {name}.key -out {name}.pem -subj /CN=relay".split(),
            cwd=directory,
            check=True,
            capture_output=True,
        )
    return directory


def problems(directory: Path, text: str) -> list[str]:
    """Line, key and reason of each problem."""
    file = directory / "f.toml"
    file.write_text(text)
    try:
        load(file, {})
    except SettingsError as error:
        return [f"{one.line}: {one.key}: {one.text}" for one in error.problems]
    return []


def risks(directory: Path, text: str) -> list[str]:
    """The warnings about a file that loads."""
    file = directory / "f.toml"
    file.write_text(text)
    return warnings(load(file, {}))


def test_a_plain_relay_is_without_fault(tmp_path: Path) -> None:
    """The configuration that all others here start from loads."""
    assert problems(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("address", "more"),
    [
        ("127.0.0.1:25", ""),
        ("[::1]:25", ""),
        ("localhost:25", ""),
        ("unix:/run/smtp.sock", ""),
        ("0.0.0.0:25", 'proxy_from = ["10.0.0.5"]\n'),
    ],
)
def test_a_proxy_is_known_by_its_network(tmp_path: Path, address: str, more: str) -> None:
    """Where only this machine can connect, nothing more need be said."""
    listener = LISTENER.replace("127.0.0.1:2525", address) + "proxy_protocol = true\n" + more
    assert problems(tmp_path, GOOD.replace(LISTENER, listener)) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            GOOD.replace("127.0.0.1:2525", "127.0.0.1:smtp"),
            "4: listener[0].address: 'smtp' is no port; ports are numbers up to 65535",
        ),
        (
            GOOD.replace("127.0.0.1:2525", "::1:2525/"),
            "4: listener[0].address: '::1:2525/' is no address; "
            'write "host:port", "[v6]:port" or "unix:/path"',
        ),
        (
            GOOD.replace("office.example", "office example"),
            "1: hostname: 'relay.office example' is no host name",
        ),
        (
            GOOD.replace(UPSTREAM, ""),
            "3: listener[0].kind: smtp needs an [[upstream]] or a [[route]]: "
            "where accepted mail goes",
        ),
        (
            GOOD.replace("127.0.0.1", "0.0.0.0").replace(UPSTREAM, "")
            + "proxy_protocol = true\n"
            + UPSTREAM,
            "5: listener[0].proxy_protocol: whoever reaches the port could pose as any client: "
            "set proxy_from to the networks of your load balancers",
        ),
        (
            GOOD.replace(UPSTREAM, "") + 'proxy_from = ["10.0.0.0/8"]\n' + UPSTREAM,
            "5: listener[0].proxy_from: nobody sends PROXY headers here: "
            "set proxy_protocol = true, too",
        ),
        (
            GOOD + LISTENER + 'name = "smtp"\n',
            "4: listener[0].address: several listeners have the address 127.0.0.1:2525",
        ),
        (
            GOOD + '[metrics]\naddress = "127.0.0.1:2525"\n',
            "9: metrics.address: a listener has the address 127.0.0.1:2525, too",
        ),
        (
            GOOD + '[[listener]]\nkind = "proxy"\naddress = "127.0.0.1:25"\nupstream = "back"\n'
            '[[upstream]]\nname = "back"\nhosts = ["127.0.0.1:25"]\n',
            "11: listener[1].upstream: 'back' is this listener itself: mail would go in circles",
        ),
        (
            GOOD + (LISTENER.replace("2525", "25") + 'name = "a"\n') * 2,
            "15: listener[2].name: there is another listener called 'a'; "
            "give one of them a name of its own",
        ),
        (
            GOOD + '[[route]]\nupstream = "partner"\n',
            "9: route[0].upstream: there is no upstream called 'partner'; there is provider",
        ),
        (
            GOOD + '[[filter]]\nuse = "spf"\napplies_to = ["smtp", "submission"]\n',
            "10: filter[0].applies_to[1]: there is no listener called 'submission'; there is smtp",
        ),
        (
            GOOD + '[[filter]]\nuse = "spf"\n[[observer]]\nuse = "spf"\n',
            "10: observer[0].name: there is another plugin called 'spf'; "
            "give one of them a name of its own",
        ),
        (
            GOOD + UPSTREAM,
            "9: upstream[1].name: there is another upstream called 'provider'; "
            "give one of them a name of its own",
        ),
        (
            GOOD + '[[listener]]\nkind = "proxy"\naddress = "127.0.0.1:10025"\n',
            "8: listener[1].upstream: a proxy listener needs the name of its upstream",
        ),
        (
            GOOD + '[[listener]]\nkind = "proxy"\naddress = "x:1"\nupstream = "back"\n',
            "11: listener[1].upstream: there is no upstream called 'back'; there is provider",
        ),
        (
            GOOD.replace('name = "provider"', 'name = "provider"\nprotocol = "lmtp"')
            + '[[listener]]\nkind = "proxy"\naddress = "x:1"\nupstream = "provider"\n',
            "12: listener[1].upstream: a proxy passes mail on by smtp, and to nothing else",
        ),
        (
            GOOD
            + '[[listener]]\nkind = "proxy"\naddress = "x:1"\nupstream = "provider"\n'
            + 'relay_domains = ["office.example"]\n',
            "12: listener[1].relay_domains: a proxy listener has none: "
            "that is the mail server's part",
        ),
        (
            GOOD
            + '[[listener]]\nkind = "milter"\naddress = "x:1"\nauth = "none"\ntls = "starttls"',
            "12: listener[1].tls: a milter listener has none: that is the mail server's part",
        ),
        (
            GOOD + '[[listener]]\nkind = "milter"\naddress = "x:1"\nclient_in_received = true',
            "11: listener[1].client_in_received: a milter listener has none: "
            "that is the mail server's part",
        ),
        (
            GOOD + '[[listener]]\nkind = "milter"\naddress = "x:1"\ngroup = "postfix"',
            "11: listener[1].group: only a Unix socket has one; "
            "who may connect to a port is xclient_from's part",
        ),
        (
            GOOD + '[[listener]]\nkind = "milter"\naddress = "x:1"\nxclient_from = []',
            "11: listener[1].xclient_from: nobody could use this milter: "
            "name its mail server's network",
        ),
        (
            GOOD + '[[listener]]\nkind = "smtp"\naddress = "x:1"\nquarantine = "hold"',
            "11: listener[1].quarantine: only a milter's mail server can hold mail: "
            "here it is always own",
        ),
        (
            GOOD + 'rate = "100 a second"\n',
            "8: upstream[0].rate: '100 a second' is no rate; "
            'write one like "100/s", "600/m" or "5000/h"',
        ),
        (
            GOOD + 'password = "x"\n',
            "5: upstream[0].username: the password needs a username beside it",
        ),
        (
            GOOD + 'username = "x"\n',
            "8: upstream[0].username: a username needs password_file or password beside it",
        ),
        (
            GOOD + 'tls = "opportunistic"\nusername = "x"\npassword = "y"\n',
            '8: upstream[0].tls: anybody could have the password: a login needs "required" or '
            '"implicit"',
        ),
        (
            GOOD + 'ca_file = "nowhere.pem"\n',
            "8: upstream[0].ca_file: there is no file {here}/nowhere.pem",
        ),
        (
            GOOD + '[metrics]\naddress = "9325"\n',
            "9: metrics.address: '9325' has no port; write \"host:port\"",
        ),
        (
            GOOD + '[dns]\nservers = ["127.0.0.1", "127.0.0.1:dns"]\n',
            "9: dns.servers[1]: 'dns' is no port; ports are numbers up to 65535",
        ),
        (
            GOOD + '[spool]\nurl = "mysql://x"\n',
            "9: spool.url: must begin with sqlite:/// or postgresql://: "
            "what was accepted must outlast a stop",
        ),
        (
            GOOD + '[delivery]\nretry = "5h"\n',
            "9: delivery.retry: is longer than retry_max",
        ),
        (
            GOOD + '[limits]\nin_flight_memory = "1 MiB"\n',
            "8: limits.message_size: is more than in_flight_memory allows all messages",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, text: str, problem: str) -> None:
    """Each fault is reported with its line, its key and the reason."""
    assert problem.replace("{here}", str(tmp_path)) in problems(tmp_path, text)


def test_tls_needs_a_certificate(tmp_path: Path) -> None:
    """STARTTLS without certificate can't be offered."""
    assert problems(tmp_path, GOOD.replace('kind = "smtp"', 'kind = "smtp"\ntls = "starttls"')) == [
        "4: listener[0].tls: starttls needs certificate and key in [tls]"
    ]


def test_login_needs_tls_and_somebody_who_knows_passwords(tmp_path: Path) -> None:
    """Passwords never cross the network in plain text."""
    found = problems(tmp_path, GOOD.replace('kind = "smtp"', 'kind = "smtp"\nauth = "required"'))
    assert found == [
        '4: listener[0].auth: passwords need TLS: set tls = "starttls" or "implicit"',
        "4: listener[0].auth: required needs an [[auth]] section: who may log in",
    ]


def test_a_certificate_that_fits_its_key_is_taken(tmp_path: Path, pki: Path) -> None:
    """The pair is tried before anybody connects."""
    text = GOOD + f'[tls]\ncertificate = "{pki}/a.pem"\nkey = "{pki}/a.key"\n'
    assert problems(tmp_path, text) == []


def test_a_certificate_with_another_key_is_refused(tmp_path: Path, pki: Path) -> None:
    """A renewed certificate with the old key is found at start, not by the first client."""
    text = GOOD + f'[tls]\ncertificate = "{pki}/a.pem"\nkey = "{pki}/b.key"\n'
    assert problems(tmp_path, text) == [
        f"9: tls.certificate: {pki}/a.pem was not made for the key {pki}/b.key"
    ]


def test_a_certificate_that_is_none_is_refused(tmp_path: Path, pki: Path) -> None:
    """A file with something else in it is named."""
    text = GOOD + f'[tls]\ncertificate = "f.toml"\nkey = "{pki}/a.key"\n'
    assert problems(tmp_path, text) == [
        f"9: tls.certificate: {tmp_path}/f.toml holds no certificate in PEM form"
    ]


def test_a_certificate_and_a_key_in_each_others_place_are_told(tmp_path: Path, pki: Path) -> None:
    """Each for itself."""
    text = GOOD + f'[tls]\ncertificate = "{pki}/a.key"\nkey = "{pki}/a.pem"\n'
    assert problems(tmp_path, text) == [
        f"9: tls.certificate: {pki}/a.key holds no certificate in PEM form",
        f"10: tls.key: {pki}/a.pem holds no private key in PEM form",
    ]


def test_a_key_that_is_not_there_is_named(tmp_path: Path, pki: Path) -> None:
    """The file's name and the system's reason."""
    text = GOOD + f'[tls]\ncertificate = "{pki}/a.pem"\nkey = "c.key"\n'
    assert problems(tmp_path, text) == [
        f"10: tls.key: {tmp_path}/c.key can't be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ('trusted_networks = ["0.0.0.0/0"]', "anybody in 0.0.0.0/0 may send to anybody"),
        ('trusted_networks = ["::/0"]', "anybody in ::/0 may send to anybody"),
        ('trusted_networks = ["8.0.0.0/9"]', "anybody in 8.0.0.0/9 may send to anybody"),
        ('trusted_networks = ["2000::/3"]', "anybody in 2000::/3 may send to anybody"),
        ('relay_domains = ["*"]', "anybody may send to anybody"),
        ('relay_domains = ["*@*"]', "anybody may send to anybody"),
        (
            'trusted_networks = ["10.0.0.0/8"]\nproxy_protocol = true\nproxy_from = ["0.0.0.0/0"]',
            "anybody in 0.0.0.0/0 may pose as a trusted client",
        ),
    ],
)
def test_an_open_relay_is_warned_of_in_capitals(tmp_path: Path, key: str, why: str) -> None:
    """Half the internet may not send through without somebody having been told."""
    (found,) = risks(tmp_path, GOOD.replace('kind = "smtp"', f'kind = "smtp"\n{key}'))
    assert found.startswith(f"listener smtp: OPEN RELAY: {why}")


def test_behind_a_mail_server_that_relays_the_danger_is_another(tmp_path: Path) -> None:
    """A milter lets nobody relay, but what it takes for one's own mail is signed."""
    milter = '[[listener]]\nkind = "milter"\naddress = "unix:m"\ntrusted_networks = ["::/0"]\n'
    (found,) = risks(tmp_path, milter)
    assert found.startswith(
        "listener milter: anybody in ::/0 counts as your own, whose mail is sig"
    )


@pytest.mark.parametrize(
    "key",
    [
        'trusted_networks = ["10.0.0.0/8", "fd00::/8", "127.0.0.0/8", "8.8.0.0/16"]',
        'relay_domains = ["office.example", "*.office.example"]',
    ],
)
def test_an_organisation_is_no_open_relay(tmp_path: Path, key: str) -> None:
    """Private networks and own domains are what relays are for."""
    assert risks(tmp_path, GOOD.replace('kind = "smtp"', f'kind = "smtp"\n{key}')) == []


def test_secrets_that_everybody_can_read_are_warned_of(tmp_path: Path, pki: Path) -> None:
    """A key and a password file with the mode 644 are named."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    key = pki / "b.key"
    key.chmod(0o644)
    found = risks(
        tmp_path,
        GOOD
        + 'tls = "required"\nusername = "office"\npassword_file = "secret"\n'
        + f'[tls]\ncertificate = "{pki}/b.pem"\nkey = "{key}"\n',
    )
    assert found == [
        f"the private key {key} can be read by every user of this machine (chmod 640)",
        f"the password file {secret} can be read by every user of this machine (chmod 640)",
    ]


def test_a_password_without_tls_is_warned_of(tmp_path: Path) -> None:
    """Who listens on the way would read it; the file may want it so, on a wire of one's own."""
    (tmp_path / "f.toml").touch(mode=0o600)
    (found,) = risks(tmp_path, GOOD + 'tls = "none"\nusername = "office"\npassword = "x"\n')
    assert found.startswith("upstream provider: its password may cross the network in plain text")


def test_a_console_that_is_not_there_yet_is_told(tmp_path: Path) -> None:
    """Who asked for one would look for it; who didn't, or switched it off, wouldn't."""
    asked = GOOD + '[console]\naddress = "127.0.0.1:9326"\n'
    assert risks(tmp_path, asked) == ["[console]: there is no console yet; nothing answers there"]
    assert risks(tmp_path, GOOD + '[console]\naddress = ""\n') == []
