"""`corea init`: a commented corea.toml for a common pair of models, and questions to try it with."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from corea.cli.options import FILE, NAME
from corea.errors import ConfigError, unknown_name
from corea.stage import Mode

TEMPLATES = Path(__file__).parent / "templates"
QUESTIONS = Path("questions.jsonl")
CHAT = (  # lines of a template, and those in their place with `--mode chat`
    (r'mode = "answer".*', 'mode = "chat"                  # open-ended text: no prompt of ours, no tags; or "answer"'),
    (r'prompt = "default".*\n', ""),
    (r'signal = "expected".*', 'signal = "mean_token_probability"   # "self_check" where a server gives none'),
    (r'signal = "verbalized".*', 'signal = "self_check"          # a short second call: is this answer right?'),
    (r"(?=\[stages\.small\.backend\])", '[[stages.small.validators]]    # and "valid_json", "regex", "command"\n'
     'kind = "not_refused"           # defers an empty text or a refusal\n\n'),
    (r"max_tokens = 1024\ntemperature = 0\.0", "max_tokens = 4096              # a longer draft is deferred"),
    (r"(?<=\[stages\.large\]).*", "                 # asked as the client asked"),
    (r"max_tokens = 2048", "max_tokens = 4096"),
)  # fmt: skip


def init(
    pair: Annotated[str, typer.Option(metavar=NAME, help="Pair of models; --list shows them.")] = "openai",
    out: Annotated[Path, typer.Option(metavar=FILE, help="File to write.")] = Path("corea.toml"),
    list_: Annotated[bool, typer.Option("--list", help="List the pairs and exit.")] = False,
    mode: Annotated[Mode, typer.Option(help="Short answers that can be graded, or open-ended text.")] = Mode.ANSWER,
    questions: Annotated[
        int, typer.Option(min=0, help="Also write questions.jsonl: this many small problems with answers.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented corea.toml for a common pair of models, and questions to try it with."""
    names = sorted(path.stem for path in TEMPLATES.glob("*.toml"))
    if list_:
        for name in names:
            first = (TEMPLATES / f"{name}.toml").read_text().splitlines()[0]
            print(f"{name:12} {first.removeprefix('# ')}")
        return
    if pair not in names:
        raise unknown_name("--pair", pair, names)
    wanted = [out, QUESTIONS] if questions else [out]
    for path in wanted:
        if path.exists() and not force:
            raise ConfigError(f"{path}: is there already, expected no file; give --force to overwrite it, or move it")
    try:
        out.write_text(template(pair, mode))
        if questions:
            write_examples(QUESTIONS, questions, split="examples")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written ({error.strerror}); give --out elsewhere") from error
    options = "" if out == Path("corea.toml") else f" --config {out}"
    print(f"Wrote {' and '.join(map(str, wanted))} for the pair {pair!r}. Next: `corea check{options}`.")


def template(pair: str, mode: Mode) -> str:
    """The text of a configuration file for a pair of models."""
    text = (TEMPLATES / f"{pair}.toml").read_text()
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
