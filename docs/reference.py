"""Lists of every setting and of every command, from the code: docs/_generated/settings.md and commands.md.

Settings are dataclasses with an `Args:` section; commands are the typer application of `corea.cli.main`.
"""

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

WIDTH = 118
ENTRY = re.compile(r"^    ([\w, `.]+): (.*(?:\n        .*)*)", re.M)
NAMES = {str: "string", int: "integer", float: "number", bool: "true or false", Decimal: "USD"}
FOR_TESTS = ("fake",)  # kinds of backends without settings of their own


def field_texts(kind: type) -> dict[str, str]:
    """The meaning of each field, as the docstrings of a class and its bases say."""
    found: dict[str, str] = {}
    fields_of = "|".join(name for each in kind.__mro__ for name in vars(each).get("__annotations__", {}))
    for each in reversed(kind.__mro__[:-1]):
        _, _, args = (inspect.cleandoc(each.__doc__ or "")).partition("Args:\n")
        for names, text in ENTRY.findall(args.split("\n\n")[0]):
            first, *more = re.split(rf" `({fields_of})`: ", " ".join(text.split()))  # "Text. `other`: its text."
            texts = dict.fromkeys(re.findall(r"\w+", names), first) | dict(zip(more[::2], more[1::2], strict=True))
            found |= {name: _followed(each, name, text[0].upper() + text[1:]) for name, text in texts.items()}
    return found


def _followed(kind: type, name: str, text: str) -> str:
    """The text, or that of the class which "As in `Class`." names."""
    other = re.fullmatch(r"As in `(\w+)`\.", text)
    return field_texts(getattr(sys.modules[kind.__module__], other[1]))[name] if other else text


def type_words(hint: Any) -> str:
    """A type in the words of TOML."""
    parts = [part for part in get_args(hint) if part not in (type(None), Ellipsis)]
    if hint in NAMES:
        return NAMES[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f'`"{each.value}"`' for each in hint)
    if get_origin(hint) in (tuple, list):
        return f"list of {type_words(parts[0])}s"
    if type(None) in get_args(hint) and len(parts) == 1:
        return type_words(parts[0])
    return "path" if getattr(hint, "__name__", "") == "Path" else "table"


def default_words(each: "Field[Any]") -> str:
    value = each.default if each.default_factory is MISSING else each.default_factory()
    if value is MISSING:
        return "required"
    if value is None or value == () or value == {} or is_dataclass(value):
        return ""
    if isinstance(value, str | bool):
        return f"default `{json.dumps(value)}`"  # an enumeration's member is a string
    return f"default `{json.dumps(value) if isinstance(value, tuple) else value}`"


def settings_of(target: str) -> type | None:
    """The dataclass that holds the settings of a registered class: itself, or its first parameter's type."""
    from corea.registry import resolve

    made: type = resolve("reference", target, {})
    if is_dataclass(made):
        return made
    first = next(iter(inspect.signature(made).parameters))
    hint = get_type_hints(made.__init__).get(first)
    return hint if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__") else None


def sections() -> Iterator[tuple[str, Iterable[tuple[str, type]]]]:
    """Headings, each with the settings of its tables."""
    from corea.backends import BACKENDS
    from corea.calibrate.settings import CalibrateSettings, JudgeSettings
    from corea.config import CascadeSettings, RunSettings, StageSettings
    from corea.gateway.ops.settings import GatewaySettings
    from corea.policies import POLICIES, PRE_POLICIES
    from corea.prices import Price
    from corea.signals import SIGNALS, VALIDATORS
    from corea.train.cold_start import ColdStartSettings
    from corea.train.data import DataSettings
    from corea.train.settings import RlccSettings
    from corea.types import Sampling

    def registered(table: Mapping[str, str], skip: tuple[str, ...] = ()) -> list[tuple[str, type]]:
        kinds = [(f'`kind = "{name}"`', settings_of(path)) for name, path in table.items() if name not in skip]
        return [(name, kind) for name, kind in kinds if kind]

    gateway = [(f"`[gateway.{f.name}]`", type(f.default)) for f in fields(GatewaySettings) if is_dataclass(f.default)]
    yield "Cascades", [("`[cascade]`, `[cascades.NAME]`", CascadeSettings)]
    yield "Stages", [("`[stages.NAME]`", StageSettings), ("`[stages.NAME.sampling]`", Sampling)]
    yield "Backends: `[stages.NAME.backend]`", registered(BACKENDS, FOR_TESTS)
    yield "Signals: `[stages.NAME.signal]`", registered(SIGNALS)
    yield "Validators: `[[stages.NAME.validators]]`, and any signal", registered(VALIDATORS, tuple(SIGNALS))
    yield "Policies: `[stages.NAME.policy]`", registered(POLICIES)
    yield "Pre-policies: `[stages.NAME.pre_policy]`", registered(PRE_POLICIES)
    yield "Prices", [('`[prices."MODEL"]`', Price)]
    yield "Batch runs", [("`[run]`", RunSettings)]
    yield "Calibration", [("`[calibrate]`", CalibrateSettings), ("`[calibrate.judge]`", JudgeSettings)]
    yield "Gateway", [("`[gateway]`", GatewaySettings), *gateway]
    yield "Training: a file for `corea train cold-start`", [("The run", ColdStartSettings), ("The data", DataSettings)]
    yield "Training: a file for `corea train rlcc`", [("The run", RlccSettings)]


def summary_of(kind: type) -> str:
    """The first paragraph of a docstring, without the table's name, which is the heading."""
    first = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    rest = re.sub(r"^(?:Settings of )?`\[[^`]+\]`(?:[:.] ?|$)", "", first)
    return textwrap.fill(rest[0].upper() + rest[1:], WIDTH) + "\n" if rest else ""


def setting_entries(kind: type) -> Iterator[str]:
    said, hints = field_texts(kind), get_type_hints(kind)
    for each in fields(kind):
        words = type_words(hints[each.name])
        if not each.init or (words == "table" and each.name not in said):  # a table with a heading of its own
            continue
        if words == "USD" and "usd" not in each.name:
            words = "number"
        facts = ", ".join(filter(None, (words, default_words(each))))
        yield entry(f"`{each.name}` ({facts})", said.get(each.name, ""))


def entry(head: str, text: str) -> str:
    line = f"- {head}: {text}" if text else f"- {head}"
    return textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) + "\n"


def settings() -> str:
    """Every setting of a configuration."""
    made: list[str] = []
    for heading, tables in sections():
        made.append(f"## {heading}\n")
        for name, kind in tables:
            made += [f"### {name}\n", *filter(None, (summary_of(kind), "".join(setting_entries(kind))))]
    return "\n".join(made)


def commands() -> str:
    """Every command and option."""
    import typer

    from corea.cli.main import PANELS, make_app

    root: Any = typer.main.get_command(make_app())
    made: list[str] = []
    for panel, names in PANELS.items():
        made.append(f"## {panel}\n")
        made += [text for name in names for text in command(root.commands[name], f"corea {name}")]
    return "\n".join(made)


def command(found: Any, name: str) -> Iterator[str]:
    arguments = [p for p in found.params if p.param_type_name == "argument"]
    words = [value_of(p) + ("..." if p.nargs != 1 else "") for p in arguments]
    children: dict[str, Any] = getattr(found, "commands", {})
    usage = " ".join([name, *(f"[{w}]" if not p.required else w for p, w in zip(arguments, words, strict=True))])
    yield f"### `{usage}`\n"
    yield "\n\n".join(textwrap.fill(part, WIDTH) for part in inspect.cleandoc(found.help or "").split("\n\n")) + "\n"
    if options := "".join(option(p) for p in found.params if p.help is not None or p in arguments):
        yield options
    for child, each in children.items():
        yield from command(each, f"{name} {child}")


def value_of(parameter: Any) -> str:
    """The word for a parameter's value."""
    if isinstance(parameter.default, Enum):
        return "|".join(str(each.value) for each in type(parameter.default))
    count = getattr(parameter, "min", None) is not None
    return parameter.metavar or ("N" if count else parameter.name.upper())


def option(parameter: Any) -> str:
    names = [value_of(parameter)]
    if parameter.param_type_name == "option":
        value = "" if parameter.is_flag else f" {value_of(parameter)}"
        names = [", ".join(sorted(parameter.opts, key=len, reverse=True)) + value]
    default = parameter.default
    facts = ["required"] if parameter.required else []
    if default not in (None, False, "", ()) and not callable(default):
        facts = [f"default {getattr(default, 'value', default)}"]
    return entry(" ".join([f"`{names[0]}`", *(f"({fact})" for fact in facts)]), parameter.help or "")


def pages() -> dict[str, str]:
    """The lists by the name of their file."""
    return {"settings.md": settings(), "commands.md": commands()}
