"""How the log is to be written, as the file has it."""

from filterrelay.observe.log import Options
from filterrelay.settings.models import Settings

KEY = "log.key"  # in state_dir


def log_options(settings: Settings) -> Options:
    """The section [log], with the place of the key that hides addresses."""
    log = settings.log
    return Options(log.format, log.level, log.mail_log, log.addresses, settings.state_dir / KEY)
