"""Wrong usage of the command line as one line: the option or argument, the value given, the value expected."""

from pathlib import Path
from typing import Any

import typer

UNEXPECTED, QUOTE = "got unexpected extra argument", "put a text with spaces in quotes"
UNKNOWN = "no such command '"
EXPECTED = {  # by the kind of pydantic's error, which typer checks values with
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a shorter whole number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "path_type": "a path",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}


def usage_line(error: typer.TyperException, command: str) -> str:
    """The error and the command that shows the help: the error's own command, else `command`, such as "corea ask"."""
    context: Any = getattr(error, "ctx", None)
    command = context.command_path if context is not None else command
    where = command.removeprefix("corea").strip()
    return f"{_message(error, where and f'{where}: ')}; see `{command} --help`"


def _message(error: Any, where: str) -> str:
    param = getattr(error, "param", None)
    if option := getattr(error, "option_name", None):
        return _wrong_option(error, str(option), where)
    if param is None:
        message = _plain(error.format_message())
        more = f", expected none; {QUOTE}" if message.startswith(UNEXPECTED) else _file_hint(error, message)
        return f"{where}{message}{more}"
    name = next((each for each in param.opts if each.startswith("--")), param.name)
    if str(error).startswith("Missing parameter"):
        return f"{name}: got nothing, expected a value"
    return f"{name}: {_wrong_value(error)}"


def _file_hint(error: Any, message: str) -> str:
    """The option for a file that stands where a command is expected."""
    name = message.removeprefix(UNKNOWN).removesuffix("'")
    if name == message or not Path(name).is_file():
        return ""
    options = {option for param in error.ctx.command.params for option in param.opts}
    return f", it is a file; did you mean --questions {name}?" if "--questions" in options else ", it is a file"


def _wrong_option(error: Any, option: str, where: str) -> str:
    if "requires" in error.message or "does not take" in error.message:
        return f"{option}: got no value, expected one" if "requires" in error.message else f"{option}: takes no value"
    near = " or ".join(sorted(error.possibilities or ())) if hasattr(error, "possibilities") else ""
    return f"{where}got {option!r}, expected one of its options{near and f'; did you mean {near}?'}"


def _wrong_value(error: Any) -> str:
    """Taken from pydantic's error, which typer's is raised from, else from typer's message."""
    found = getattr(error.__cause__, "errors", list[Any])()
    if not found:
        return _plain(error.message)
    first = found[0]
    if expected := EXPECTED.get(first["type"]):
        return f"got {first['input']!r}, expected {expected.format_map(first.get('ctx') or {})}"
    message = str(first["msg"]).removeprefix("Value error, ")
    _, listed, choices = message.partition(" is not one of ")
    return f"got {first['input']!r}, expected {'one of ' + choices.rstrip('.') if listed else _plain(message)}"


def _plain(message: str) -> str:
    message = message.rstrip(".")
    return message[:1].lower() + message[1:]
