"""filterrelay as a milter that signs, and nothing else.

With one worker, as docs/postfix.md advises for that.
"""

import getpass

from tests.bench import site
from tests.bench.milters.milter import Milter
from tests.bench.programs import write
from tests.bench.relays.filterrelay import find_filterrelay

_CONFIG = """\
hostname = "{hostname}"
state_dir = "{directory}/state"
workers = 1
user = "{user}"

[[listener]]
kind = "milter"
address = "unix:{socket}"
mode = "0666"

[[signer]]
use = "dkim-sign"
[signer.options]
keys = [{{ domain = "{domain}", selector = "{selector}", key = "{dkim_key}" }}]

[metrics]
address = "127.0.0.1:{metrics}"

[console]
address = ""

[log]
format = "json"
"""


class FilterRelayMilter(Milter):
    """filterrelay."""

    name = "milter-filterrelay"
    title = "filterrelay"

    def configure(self) -> list[str]:
        """filterrelay.toml."""
        file = self.directory / "filterrelay.toml"
        text = _CONFIG.format(
            hostname=site.HOSTNAME,
            directory=self.directory,
            socket=self.socket,
            domain=site.DOMAIN,
            selector=site.SELECTOR,
            dkim_key=self.office.dkim.path,
            metrics=site.free_port(),
            user=getpass.getuser(),  # who owns the key
        )
        write(file, text)
        (self.directory / "state").mkdir()
        return [str(find_filterrelay()), "serve", "-c", str(file)]
