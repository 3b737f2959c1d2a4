"""`corea init`: a commented corea.toml for a pair of models, asked for on a terminal, and questions to try it with."""

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from corea.cli.options import FILE, NAME
from corea.errors import ConfigError, unknown_name
from corea.stage import Mode

TEMPLATES = Path(__file__).parent / "templates"
QUESTIONS = Path("questions.jsonl")
OWN = "own"  # any two endpoints
EXPECTED = '"expected"            # from token probabilities; "verbalized" where a server gives none'
VERBALIZED = '"verbalized"          # the number that the model states; "expected" where a server gives logprobs'
CHAT = (  # lines of a template, and those in their place with `--mode chat`
    (r'mode = "answer".*', 'mode = "chat"                  # open-ended text: no prompt of ours, no tags; or "answer"'),
    (r'prompt = "default".*\n', ""),
    (r'signal = "expected".*', 'signal = "mean_token_probability"   # "self_check" where a server gives none'),
    (r'signal = "verbalized".*', 'signal = "self_check"          # a short second call: is this answer right?'),
    (r"(?=\[stages\.small\.backend\])", '[[stages.small.validators]]    # and "valid_json", "regex", "command": '
     'docs/signals.md\nkind = "not_refused"           # defers an empty text or a refusal\n\n'),
    (r"max_tokens = 1024\ntemperature = 0\.0", "max_tokens = 4096              # a longer draft is deferred"),
    (r"(?<=\[stages\.large\]).*", "                 # asked as the client asked"),
    (r"max_tokens = 2048", "max_tokens = 4096"),
)  # fmt: skip
EndpointOption = Annotated[
    str | None, typer.Option(metavar="MODEL@URL", help="Any OpenAI-compatible endpoint, with --small and --large.")
]
KeyOption = Annotated[str | None, typer.Option(metavar=NAME, help="Environment variable that holds its key.")]


def init(
    pair: Annotated[
        str | None, typer.Option(metavar=NAME, help="Pair of models; --list shows them. Default: asked, or openai.")
    ] = None,
    small: EndpointOption = None,
    large: EndpointOption = None,
    small_key: KeyOption = None,
    large_key: KeyOption = None,
    out: Annotated[Path, typer.Option(metavar=FILE, help="File to write.")] = Path("corea.toml"),
    list_: Annotated[bool, typer.Option("--list", help="List the pairs and exit.")] = False,
    mode: Annotated[
        Mode | None,
        typer.Option(help="Short answers that can be graded, or open-ended text. Default: asked, or answer."),
    ] = None,
    questions: Annotated[
        int, typer.Option(min=0, help="Also write questions.jsonl: this many small problems with answers.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented corea.toml for two models, and questions to try it with; on a terminal it asks which."""
    known = pairs()
    if list_:
        for name, each in known.items():
            print(f"{name:12} {each['about']}")
        return
    if pair is not None and pair not in known:
        raise unknown_name("--pair", pair, list(known))
    wanted = [out, QUESTIONS] if questions else [out]
    for path in wanted:
        if path.exists() and not force:
            raise ConfigError(f"{path}: is there already, expected no file; give --force to overwrite it, or move it")
    if bool(small) != bool(large) or (small and pair):
        raise ConfigError("init: expected --pair, or both --small and --large; give one of these")
    if (small_key and not small) or (large_key and not large):
        raise ConfigError("init: got a key's name without its endpoint, expected --small and --large too")
    asks = not pair and not small and sys.stdin.isatty() and sys.stdout.isatty()
    if asks:
        pair = _asked_pair(known)
        if pair == OWN:
            (small, small_key), (large, large_key) = _asked_endpoint("small"), _asked_endpoint("large")
    if mode is None:
        mode = _asked_mode() if asks else Mode.ANSWER
    if small and large:
        name, chosen = OWN, own_pair(_endpoint("--small", small, small_key), _endpoint("--large", large, large_key))
    else:
        name = pair or "openai"
        chosen = known[name]
    _write(out, template(chosen, mode), questions)
    options = "" if out == Path("corea.toml") else f" --config {out}"
    print(f"Wrote {' and '.join(map(str, wanted))} for the pair {name!r}. Next: `corea check{options}`.")


def pairs() -> dict[str, dict[str, Any]]:
    """The shipped pairs by name, each with its two endpoints."""
    return tomllib.loads((TEMPLATES / "pairs.toml").read_text(encoding="utf-8"))


def own_pair(small: Mapping[str, Any], large: Mapping[str, Any]) -> dict[str, Any]:
    """A pair of any two endpoints."""
    about = f"{small['model']}, deferring to {large['model']}."
    return {"about": about, "small": small, "large": large}


def template(pair: Mapping[str, Any], mode: Mode) -> str:
    """The text of a configuration file for a pair of models."""
    text = Template((TEMPLATES / "corea.toml").read_text(encoding="utf-8")).substitute(
        about=pair["about"], concurrency=pair.get("concurrency", 32),
        signal=EXPECTED if pair.get("logprobs") else VERBALIZED,
        small=_backend(pair["small"]), large=_backend(pair["large"]), prices=_prices(pair["small"], pair["large"]),
    )  # fmt: skip
    for pattern, line in CHAT if mode is Mode.CHAT else ():
        text = re.sub(pattern, line, text)
    return text


def write_examples(path: Path, count: int, *, split: str) -> None:
    """Writes the first `count` bundled questions of a split, with their answers, as JSON lines."""
    from corea.demo import bundled_questions

    rows = [
        {"id": q.id, "question": q.text, "answer": q.reference, "category": q.category, "meta": dict(q.meta)}
        for q in bundled_questions(split, count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write(out: Path, text: str, questions: int) -> None:
    try:
        out.write_text(text, encoding="utf-8")
        if questions:
            write_examples(QUESTIONS, questions, split="examples")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written ({error.strerror}); give --out elsewhere") from error


def _backend(endpoint: Mapping[str, Any]) -> str:
    """The lines of a stage's backend."""
    lines = ['kind = "openai"', *(f"{name} = {json.dumps(endpoint[name])}" for name in ("model", "base_url"))]
    if key := endpoint.get("api_key_env"):
        return "\n".join(
            [*lines, f"api_key_env = {json.dumps(key)}   # the NAME of the environment variable of the key"]
        )
    return "\n".join([*lines, '# api_key_env = "NAME"         # the NAME of the environment variable of a key'])


def _prices(*endpoints: Mapping[str, Any]) -> str:
    """Prices of the models that the public list lacks; for endpoints of the user's, lines to fill in."""
    lines: list[str] = []
    for each in endpoints:
        usd, mark = each.get("usd"), ""
        if usd == "ask":
            usd, mark = ("0.10", "0.40"), "# "
        if usd is not None:
            names = zip(("input_usd_per_mtok", "output_usd_per_mtok"), usd, strict=True)
            lines += [
                "",
                f"{mark}[prices.{json.dumps(each['model'])}]",
                *(f'{mark}{n} = "{value}"' for n, value in names),
            ]
    if not lines:
        return ""
    return "\n".join([
        "", "# What the models cost, in USD per million tokens (docs/costs.md). Models of the public price list need",
        "# no entry; local ones without one are counted as free.", *lines[1:], "",
    ])  # fmt: skip


# --- any two endpoints -----------------------------------------------------------------------------------------------


def _endpoint(option: str, text: str, key: str | None) -> dict[str, Any]:
    """The endpoint of MODEL@URL; the key of a server that a shipped pair uses is known."""
    model, at, rest = text.partition("@http")
    url = f"http{rest}".rstrip("/")
    if not (at and model and urlsplit(url).hostname):
        raise ConfigError(f"{option}: got {text!r}, expected MODEL@URL, such as gpt-4.1@https://api.openai.com/v1")
    hosts = {
        urlsplit(end["base_url"]).hostname: end.get("api_key_env")
        for each in pairs().values()
        for end in (each["small"], each["large"])
    }
    key = key or hosts.get(urlsplit(url).hostname)
    return {"model": model, "base_url": url, "usd": "ask", **({"api_key_env": key} if key else {})}


def _asked_pair(known: Mapping[str, Mapping[str, Any]]) -> str:
    for name, each in known.items():
        print(f"  {name:12} {each['about']}")
    print(f"  {OWN:12} Any two OpenAI-compatible endpoints.")
    choices = [*known, OWN]
    name = str(typer.prompt("Pair of models", default="openai"))
    if name not in choices:
        raise unknown_name("--pair", name, choices)
    return name


def _asked_mode() -> Mode:
    name = str(typer.prompt("Mode: answer (short, gradable) or chat (open-ended)", default=Mode.ANSWER.value))
    if name not in list(Mode):
        raise unknown_name("--mode", name, list(Mode))
    return Mode(name)


def _asked_endpoint(which: str) -> tuple[str, str | None]:
    model = typer.prompt(f"Name of the {which} model")
    url = typer.prompt("  URL, up to and including /v1")
    key = typer.prompt(
        "  environment variable of its key (empty: by the server, or none)", default="", show_default=False
    )
    return f"{model}@{url}", key or None
