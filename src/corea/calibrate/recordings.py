"""The rows of one model from files of JSON lines, which may hold several models and variants."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from corea.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rows of a file are meant; `model` and `variant` may be empty where a file holds one."""

    option: str
    model: str
    variant: str
    labelled: bool

    def takes(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is of the model and variant that are meant."""
        return all(not wanted or _text(row, name) == wanted for name, wanted in self.named())

    def named(self) -> tuple[tuple[str, str], ...]:
        """What may be chosen by, with what was."""
        return ("model", self.model), ("variant", self.variant)

    def option_of(self, name: str) -> str:
        """The option of the command line that chooses by it."""
        return self.option if name == "model" else "--llm-variant" if self.option == "--llm" else "--variant"


def _text(row: Mapping[str, Any], name: str) -> str:
    """A field as text, "" where there is none."""
    return str(row.get(name) or "")


@dataclass(frozen=True, slots=True)
class Recording:
    """The rows of one model by question id, and what a reader must know about them."""

    rows: dict[str, dict[str, Any]]
    model: str
    notes: tuple[str, ...]

    @classmethod
    def read(cls, paths: Sequence[str | Path], choice: Choice) -> "Recording":
        """The rows of these files that are meant.

        Raises:
            ConfigError: A file is not there, or the model or variant must be chosen.
            DataError: A file or row that cannot be used: unlabelled, without an id, twice.
        """
        found: dict[str, dict[str, Any]] = {}
        seen: dict[str, dict[str, None]] = {"model": {}, "variant": {}}
        where = ", ".join(str(p) for p in paths)
        for path, number, row in _lines(paths):
            seen["model"].setdefault(_text(row, "model"))
            if not choice.model or _text(row, "model") == choice.model:
                seen["variant"].setdefault(_text(row, "variant"))
            if not choice.takes(row):
                continue
            key = _checked_id(row, path, number, labelled=choice.labelled)
            if key in found:
                _refuse_mixture(where, choice, seen)
                raise DataError(f"question {key!r} comes twice, expected once; drop one", path=path, line=number)
            found[key] = row
        if not found:
            raise _nothing(where, choice, seen)
        used = {_text(row, "model") for row in found.values()}
        if len(used) > 1:
            _refuse_mixture(where, choice, {"model": dict.fromkeys(used), "variant": {}})
        model = used.pop()
        disputed = sum(bool(row.get("disputed")) for row in found.values())
        notes = (f"{disputed} labels of {model} are marked as disputed by their source",) if disputed else ()
        return cls(found, model or "model", notes)


def _checked_id(row: Mapping[str, Any], path: str, number: int, *, labelled: bool) -> str:
    key = row.get("id", row.get("question_id"))
    if key is None:
        raise DataError("a row has no id, expected one a question; add the field id", path=path, line=number)
    if row.get("correct") not in ((0, 1) if labelled else (0, 1, None)):  # True and 1.0 are such too
        raise DataError(
            f"question {key!r}: got correct = {row.get('correct')!r}, expected 0 or 1; label it", path=path, line=number
        )
    return str(key)


def _refuse_mixture(where: str, choice: Choice, seen: Mapping[str, Mapping[str, None]]) -> None:
    """Where rows of several models or variants were taken as one."""
    for name, wanted in choice.named():
        if not wanted and len(seen[name]) > 1:
            there = ", ".join(sorted(seen[name]))
            raise ConfigError(f"{where}: holds the {name}s {there}; choose one with {choice.option_of(name)}")


def _nothing(where: str, choice: Choice, seen: Mapping[str, Mapping[str, None]]) -> Exception:
    """What to say where no row was taken."""
    if not seen["model"]:
        return DataError("holds no rows, expected one object a line", path=where)
    asked = ", ".join(f"{choice.option_of(name)} {wanted!r}" for name, wanted in choice.named() if wanted)
    there = sorted(seen["variant"] if choice.model and seen["variant"] else seen["model"])
    return ConfigError(f"{where}: no row of {asked}, expected one of {', '.join(map(repr, there))}")


def _lines(paths: Sequence[str | Path]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    decoder = msgspec.json.Decoder()
    for path in map(Path, paths):
        number = 0
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield str(path), number, _row(decoder.decode(line), str(path), number)
        except FileNotFoundError as error:
            raise ConfigError(f"{path}: no such file, expected recorded rows; name another") from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8 ({error.reason}); save the file as UTF-8", path=str(path), line=number
            ) from error
        except msgspec.DecodeError as error:
            raise DataError(
                f"not JSON ({error}), expected one object a line, with null in the place of NaN or Infinity",
                path=str(path), line=number,
            ) from error  # fmt: skip
        except (OSError, EOFError) as error:
            raise DataError(f"cannot be read ({error})", path=str(path)) from error


def _row(row: Any, path: str, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"got {row!r:.40}, expected an object a line", path=path, line=number)
    if "steps" in row and "correct" not in row:
        raise DataError(
            "is a run of `corea run`, which is not graded; give --questions FILE with the references",
            path=path, line=number,
        )  # fmt: skip
    return cast(dict[str, Any], row)
