"""What pydantic found wrong in a table of the configuration file, in this project's words."""

import re
import types
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
Model = type[BaseModel]

_WORDS = {  # what pydantic's types are called in a TOML file
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text in quotation marks",
    "path": "a path in quotation marks",
    "tuple": "a list in brackets",
    "list": "a list in brackets",
    "set": "a list in brackets",
    "frozenset": "a list in brackets",
    "dict": "a table of keys",
    "model": "a table of keys",
    "dataclass": "text in quotation marks",  # of which an address or a pattern is made
}
_KIND = re.compile(r"(.+?)_(?:type|parsing|parsing_size|from_float)\Z")
_CHOICE = re.compile(r"'([^']*)'")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the nearest known word, or what is known, to end an error with."""
    words = sorted(known)
    close = get_close_matches(word, words, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(words)}" if words else ""


def dotted(path: KeyPath) -> str:
    """The path as people write it: `listener[1].tls`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def faults(
    error: ValidationError, model: Model, unknown: Callable[[str, Model | None], str]
) -> list[tuple[KeyPath, str]]:
    """Each faulty key's path below the table, and what is wrong with it; no values are shown.

    model: what the table was validated as. unknown: what to say of a key that
    isn't in the model of its table; that model is None when nothing describes the table.
    """
    found = error.errors(include_url=False)
    inside = {details["loc"][:1] for details in found if len(details["loc"]) > 1}
    texts: dict[KeyPath, list[str]] = {}
    for details in found:
        # pydantic takes an array whose elements are all wrong for an empty one
        if details["type"] == "too_short" and details["loc"] in inside:
            continue
        path, table = _place(model, details["loc"])
        if details["type"] == "extra_forbidden":
            text = unknown(str(path[-1]), table)
        else:
            text = _explanation(details)
        texts.setdefault(path, []).append(text)
    return [(path, _one_sentence(several)) for path, several in texts.items()]


def _explanation(details: ErrorDetails) -> str:
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "should")
    match details["type"]:
        case "literal_error":
            choices = _CHOICE.findall(details["ctx"]["expected"])
            given = details["input"]
            close = nearest(given, choices) if isinstance(given, str) else ""
            return message + (close if "did you mean" in close else "")
        case "missing":
            return "is required"
        case "too_short":
            return "at least one is required"
        case kind if (matched := _KIND.match(kind)) and matched[1] in _WORDS:
            return f"should be {_WORDS[matched[1]]}{_brackets(details)}"
        case _:
            return message


def _brackets(details: ErrorDetails) -> str:
    """How the section is written, when it has one pair of brackets too many or too few."""
    name, given = details["loc"][-1], details["input"]
    if details["type"] == "tuple_type" and isinstance(given, dict):
        return f": write [[{name}]] for each"
    if details["type"] == "model_type" and isinstance(given, list):
        return f": write [{name}], once"
    return ""


def _one_sentence(texts: list[str]) -> str:
    """What every branch of a union says, as one: `should be a valid number or 'off'`."""
    if len(texts) == 1:
        return texts[0]
    first, *others = dict.fromkeys(texts)
    return " or ".join((first, *(other.removeprefix("should be ") for other in others)))


def _place(root: Model, location: KeyPath) -> tuple[KeyPath, Model | None]:
    """The path that the file has for pydantic's location, and the model of the last part's table.

    In a location the branches of a union have names of their own, which no file has.
    """
    path: list[str | int] = []
    here: Any = root
    table: Model | None = None
    for part in location:
        here = _bare(here)
        if get_origin(here) in (Union, types.UnionType):
            here = _branch(here, part)
            continue
        table = here if isinstance(here, type) and issubclass(here, BaseModel) else None
        here = _inside(here, part)
        path.append(part)
    return tuple(path), table


def _bare(annotation: Any) -> Any:
    """The annotation without what surrounds the type: `Annotated` and `| None`."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [one for one in get_args(annotation) if one is not types.NoneType]
        if len(members) == 1:
            return _bare(members[0])
    return annotation


def _branch(union: Any, name: str | int) -> Any:
    """The member of a union that pydantic calls so; None for those that hold no keys."""
    members = (_bare(member) for member in get_args(union))
    return next((one for one in members if getattr(one, "__name__", "") == name), None)


def _inside(annotation: Any, part: str | int) -> Any:
    """What stands at that key or index of a value of that type; None when nobody knows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return field.annotation if field else None
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin in (tuple, list):
            return arguments[0]
        case origin if origin is dict:
            return arguments[1]
        case _:
            return None
