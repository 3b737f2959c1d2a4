"""Stored answers by content: model revision, prompt, sampling and signals (the cache), and question (the row).

One cache is one JSON-lines file, in the form that `corea eval` and the replay backend read. A row is written as soon as
its answer is graded, so that re-running resumes, and a second run makes no request.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from corea.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything that determines the answers of a model.

    Args:
        revision: Hash of the weights and configuration (or of the recording); a remote model's declared name.
        signals: Each signal's kind and options, as declared.
    """

    model: str
    revision: str
    prompt_sha256: str
    sampling: Mapping[str, Any]
    signals: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name of the cache: a hash of all fields."""
        return digest(asdict(self))[:24]


class AnswerCache:
    """The stored rows of one `Identity`, by question hash.

    Raises:
        DataError: A line is not a row (a last line that was cut off by a crash is left out, and asked again).
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.identity = identity
        self.path: Path = folder / f"{identity.key}.jsonl"
        self.rows: dict[str, Row] = _read(self.path)

    def add(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Appends rows by question hash."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        about = self.path.with_suffix(".json")
        if not about.exists():
            about.write_text(json.dumps(asdict(self.identity), indent=1, default=str))
        with self.path.open("a", encoding="utf-8") as out:
            for key, row in rows:
                stored = {"question_sha256": key, **row}
                out.write(json.dumps(stored, ensure_ascii=False) + "\n")
                self.rows[key] = stored

    def rewrite(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Replaces the rows of the same questions."""
        changed = dict(rows)
        if not changed:
            return
        self.rows |= {key: {"question_sha256": key, **row} for key, row in changed.items()}
        new = self.path.with_suffix(".new")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows.values())
        new.write_text("".join(lines), encoding="utf-8")
        new.replace(self.path)


def _read(path: Path) -> dict[str, Row]:
    if not path.exists():
        return {}
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):  # cut off in the middle of a row: that row was never stored
        data = data[: data.rfind(b"\n") + 1]
        path.write_bytes(data)
    rows: dict[str, Row] = {}
    for number, line in enumerate(data.splitlines(), 1):
        try:
            row = cast(Row, json.loads(line))
            rows[row["question_sha256"]] = row
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not a stored answer ({error}); remove the line, it is then asked again", path=str(path), line=number
            ) from error
    return rows


def digest(value: Any) -> str:
    """SHA-256 of plain values, the same for equal ones."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def revision_of(options: Mapping[str, Any]) -> str:
    """The revision of a backend by its settings: the content of the files it names, else the declared one.

    Every file of a folder counts, except those that are not part of the model (optimizer states, logs, cards).
    """
    plain = {k: v for k, v in options.items() if k not in ("device", "max_batch", "max_batch_tokens", "api_key")}
    for key in ("folder", "path", "name"):
        there = Path(str(options.get(key, "")))
        if options.get(key) and there.exists():
            kept = {k: v for k, v in plain.items() if k != key}
            return digest({**kept, "content": _content(there)})
    return digest(plain)


NOT_THE_MODEL = (".pt", ".pth", ".bin.tmp", ".log", ".md", ".svg", ".png")


def _content(path: Path) -> str:
    made = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        if file.is_file() and file.name not in ("training.json", "log.jsonl") and file.suffix not in NOT_THE_MODEL:
            made.update(file.name.encode() + b"\0")
            with file.open("rb") as data:
                while block := data.read(1 << 20):
                    made.update(block)
    return made.hexdigest()
