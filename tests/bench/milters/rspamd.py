"""rspamd with dkim_signing alone: proxies in milter mode that look at the mail themselves."""

from pathlib import Path

from tests.bench import site
from tests.bench.milters.milter import Milter
from tests.bench.programs import find_program, write

_SHARE = Path("/usr/share/rspamd")

# self_scan: without a second process between, the least that rspamd can cost. No rule, map,
# statistics or other module is loaded; `dkim` is what signs, and checks no local client's mail.
_CONFIG = """\
options {{
  pidfile = "{directory}/rspamd.pid";
  filters = "dkim";
  control_socket = "{directory}/control.sock mode=0600";
  tempdir = "{directory}";
  cache_file = "{directory}/symbols.cache";
  hs_cache_dir = "{directory}/";
  history_file = "{directory}/history";
  url_tld = "{share}/effective_tld_names.dat";
  local_addrs = ["127.0.0.0/8"];
  dns {{ nameserver = ["127.0.0.1:{dns}"]; }}
}}
logging {{
  type = "console";
  level = "notice";
}}
worker "rspamd_proxy" {{
  bind_socket = "{socket} mode=0666";
  milter = yes;
  timeout = 120s;
  count = 2;
  upstream "local" {{
    default = yes;
    self_scan = yes;
  }}
}}
actions {{
  reject = 1000;
}}
modules {{
  path = "{share}/plugins/dkim_signing.lua";
}}
dkim_signing {{
  allow_username_mismatch = true;
  use_esld = false;
  sign_local = true;
  domain {{
    {domain} {{
      path = "{dkim_key}";
      selector = "{selector}";
    }}
  }}
}}
"""


class Rspamd(Milter):
    """rspamd's dkim_signing."""

    name = "milter-rspamd"
    title = "rspamd dkim_signing"

    def configure(self) -> list[str]:
        """rspamd.conf, with nothing of Debian's own."""
        file = self.directory / "rspamd.conf"
        text = _CONFIG.format(
            directory=self.directory,
            share=_SHARE,
            dns=self.office.dns_port,
            socket=self.socket,
            domain=site.DOMAIN,
            selector=site.SELECTOR,
            dkim_key=self.office.dkim.path,
        )
        write(file, text)
        # insecure: it stays root, who owns the key
        return [find_program("rspamd", "rspamd"), "--no-fork", "--insecure", "-c", str(file)]
