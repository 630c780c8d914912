"""rspamd as Debian configures it, but with its proxy as a milter and dkim_signing alone."""

from pathlib import Path

from tests.bench import site
from tests.bench.errors import MissingProgram
from tests.bench.milters.milter import Milter
from tests.bench.programs import cache, find_program, write

_DEBIAN = Path("/etc/rspamd")

# Where a file of ours says another thing than Debian's of the same name. The proxy hands mail to
# the workers that scan, which is Debian's way; scanning itself would save it a fifth.
_OVERRIDES = {
    "options.inc": """\
pidfile = "{directory}/rspamd.pid";
control_socket = "{directory}/control.sock mode=0600";
tempdir = "{directory}";
hs_cache_dir = "{expressions}/";
local_addrs = ["127.0.0.0/8"];
dns {{ nameserver = ["127.0.0.1:{dns}"]; }}
""",
    "logging.inc": """\
type = "console";
""",
    "worker-proxy.inc": """\
bind_socket = "{socket} mode=0666";
upstream "local" {{ default = yes; hosts = "127.0.0.1:{scanner}"; }}
""",
    "worker-normal.inc": """\
bind_socket = "127.0.0.1:{scanner}";
count = 2;
""",
    "worker-controller.inc": 'bind_socket = "127.0.0.1:{controller}";\n',
    "dkim_signing.conf": """\
enabled = true;
use_esld = false;
domain {{ {domain} {{ path = "{dkim_key}"; selector = "{selector}"; }} }}
""",
    "actions.conf": "reject = 1000; add_header = 900; greylist = 800;\n",
}


class Rspamd(Milter):
    """rspamd's dkim_signing."""

    name = "milter-rspamd"
    title = "rspamd dkim_signing"

    def configure(self) -> list[str]:
        """Files beside Debian's, which stay as they are."""
        program = find_program("rspamd", "rspamd")
        modules = [path.name for path in (_DEBIAN / "modules.d").glob("*.conf")]
        if not modules:
            raise MissingProgram(str(_DEBIAN), "rspamd")
        texts = dict.fromkeys(modules, "enabled = false;\n")
        values = {
            "directory": self.directory,
            "expressions": cache("rspamd"),  # which take it half a minute to compile
            "dns": self.office.dns_port,
            "socket": self.socket,
            "scanner": site.free_port(),
            "controller": site.free_port(),
            "domain": site.DOMAIN,
            "selector": site.SELECTOR,
            "dkim_key": self.office.dkim.path,
        }
        texts |= {name: text.format_map(values) for name, text in _OVERRIDES.items()}
        own = self.directory / "etc"
        for name, text in texts.items():
            write(own / "override.d" / name, text)
        folders = {"LOCAL_CONFDIR": own, "DBDIR": self.directory / "db"}
        folders |= dict.fromkeys(("RUNDIR", "LOGDIR"), self.directory)
        folders["DBDIR"].mkdir()
        # insecure: it stays root, who owns the key
        command = [program, "--no-fork", "--insecure", "-c", str(_DEBIAN / "rspamd.conf")]
        return command + [f"--var={name}={folder}" for name, folder in folders.items()]
