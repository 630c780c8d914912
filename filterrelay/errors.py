"""The one family of errors that filterrelay raises on purpose."""

import os
import pwd
from pathlib import Path
from typing import Any


class FilterRelayError(Exception):
    """Something that filterrelay names and explains.

    A subclass is usually a dataclass: its docstring's first line is the
    message, its fields are the particulars.
    """

    def __str__(self) -> str:
        named: dict[str, Any] = getattr(self, "__dataclass_fields__", {})
        if not named:
            return super().__str__()
        particulars = ", ".join(f"{name}={getattr(self, name)!r}" for name in named)
        summary = (type(self).__doc__ or "").partition("\n")[0].rstrip(".")
        return f"{summary} ({particulars})" if particulars else summary


def why_unreadable(error: OSError) -> str:
    """The system's words for a file that can't be read or made; if it is forbidden, to whom.

    The user is named since it is often another one who reads this: root, who could.
    """
    why = error.strerror or str(error)
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str | Path):
        return why
    file, user = Path(error.filename).absolute(), _user_name()
    for directory in reversed(file.parents):
        if not os.access(directory, os.X_OK):
            return f"{why}: user {user} can't enter {directory}"
    if not file.exists() and not os.access(file.parent, os.W_OK):
        return f"{why}: user {user} can't write to {file.parent}"
    if not file.exists() or os.access(file, os.R_OK):
        return why
    return f"{why} for user {user}: chown {user} {file}"


def _user_name() -> str:
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
