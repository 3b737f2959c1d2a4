"""The output: checked before anything is asked, written whole at the end.

JSON lines hold whole traces; CSV, TSV and Parquet one flat row a question; .gz packs them. A file is written beside its
place and moved there when it is complete.
"""

import csv
import gzip
import io
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from decimal import Context, Decimal
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from corea.cascade import Cascade
from corea.errors import ConfigError, DataError
from corea.files.readers import import_parquet
from corea.files.rows import FileFormat, format_of
from corea.money import usd_text
from corea.run.journal import BUFFER
from corea.trace_io import decode
from corea.types import Trace, Usage

COLUMNS: tuple[str, ...] = (
    "id", "answer", "status", "stage", "confidence", "score", "threshold", "signal", "deferred", "text", "cost_usd",
    "baseline_cost_usd", "baseline_estimated", "prompt_tokens", "cached_tokens", "completion_tokens",
    "reasoning_tokens", "seconds", "error", "trace_id",
)  # fmt: skip
PARQUET_ROWS = 1024  # a row group
WIDE, DECIMALS_18 = Context(prec=60), Decimal(1).scaleb(-18)
ANSWER_BYTES, LOGPROB_BYTES = 2000, 3000  # of a trace, and of one stage's log-probabilities, until answers show theirs
PACKED = 0.25  # of a file in .gz or .parquet


def check_is_file(output: str) -> None:
    """Refuses a folder or device, and a name that no file can have, that of the journal beside it included.

    Raises:
        ConfigError: It is one.
    """
    path = Path(output)
    _check_name(output)
    if path.is_dir():
        raise ConfigError(f"--out: got the folder {output}, expected a file; write {path / 'answers.jsonl'}")
    if path.exists() and not path.is_file():
        raise ConfigError(f"--out: got the device or pipe {output}, expected a file; - writes to standard output")


def _check_name(output: str) -> None:
    for name in (output, f"{output}.journal"):
        try:
            os.stat(name)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            shown = output if len(output) <= 60 else f"{output[:57]}..."
            why = f"{error.strerror}{', with the .journal that is kept beside it' if name != output else ''}"
            raise ConfigError(f"--out: got {shown}, which cannot be written ({why}); name another") from error


def check_output(output: str, format: FileFormat, *, has_journal: bool) -> None:
    """Refuses an output that cannot be written at the end.

    Raises:
        ConfigError: It is not the output of a run, or needs a package that is not installed.
        DataError: Its place cannot be written.
    """
    path = Path(output)
    if format is FileFormat.PARQUET:
        import_parquet(output)
    if not has_journal and path.is_file() and path.stat().st_size:
        raise ConfigError(
            f"{output}: is there already and has no journal, so no run can go on; move it, or name another --out"
        )
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise DataError(
            f"cannot be written ({error.strerror}), expected a folder that is there and writable; name another --out",
            path=output,
        ) from error


def answer_bytes_expected(cascade: Cascade) -> int:
    """The size of a trace before any is there to be measured."""
    return ANSWER_BYTES + LOGPROB_BYTES * sum(stage.sampling.logprobs for stage in cascade.stages)


def check_room(output: str, *, rows: int, unanswered: int, answer_bytes: float) -> None:
    """Refuses a disk without room for the answers that are expected: in the journal, then all of them in the output.

    Args:
        answer_bytes: The size of one, as this run's answers so far show it, or `answer_bytes_expected`.

    Raises:
        DataError: There is too little; the message says how much is expected.
    """
    share = PACKED if output.endswith((".gz", ".parquet")) else 1
    wanted = answer_bytes * (unanswered + share * rows)
    try:
        free = shutil.disk_usage(Path(output).parent).free
    except OSError:  # unknown for this place
        return
    if wanted > free:
        raise DataError(
            f"its disk has {_size(free)} free, expected about {_size(wanted)} (an estimate: journal and answers of "
            f"{rows:,} questions at {_size(answer_bytes)} each); make room, or name another --out",
            path=output,
        )


def _size(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:.0f} bytes"


# --- writing ----------------------------------------------------------------------------------------------------------


def flat(trace: Trace) -> dict[str, Any]:
    """A trace as one row of plain values: what most people look at. Tokens are those of all its completions."""
    confidence = trace.confidence
    usage = sum((step.completion.usage for step in trace.steps if step.completion), Usage())
    return {
        "id": trace.question_id,
        "answer": trace.answer,
        "status": trace.status.value,
        "stage": trace.stage,
        "confidence": confidence.value if confidence else None,
        "score": confidence.score if confidence else None,
        "threshold": next((step.threshold for step in trace.steps if step.stage == trace.stage), None),
        "signal": confidence.signal if confidence else None,
        "deferred": trace.deferred,
        "text": trace.text,
        "cost_usd": trace.cost_usd,
        "baseline_cost_usd": trace.baseline_cost_usd,
        "baseline_estimated": trace.baseline_estimated,
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "seconds": trace.seconds,
        "error": trace.error,
        "trace_id": trace.trace_id,
    }


def write_output(path: str, lines: Iterable[bytes], format: FileFormat | None = None) -> None:
    """Writes traces, each one line of JSON, to a file in its format.

    Raises:
        DataError: It cannot be written (a full disk); what was at `path` before is then still there.
    """
    part = Path(f"{path}.part")
    try:
        if (format or format_of(path)) is FileFormat.PARQUET:
            _write_parquet(part, lines)
        else:
            with _packed(part, path.endswith(".gz")) as stream:
                WRITERS[format or format_of(path)](stream, lines)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"cannot be written ({error.strerror}); the answers are safe in {path}.journal; make room and start "
            "the same command again, it pays for nothing twice",
            path=path,
        ) from error


@contextmanager
def _packed(path: Path, packed: bool) -> Generator[IO[bytes]]:
    with path.open("wb", buffering=BUFFER) as file:
        if packed:
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as stream:
                yield cast(IO[bytes], stream)
        else:
            yield file
        file.flush()
        os.fsync(file.fileno())


def _write_jsonl(stream: IO[bytes], lines: Iterable[bytes]) -> None:
    for line in lines:
        stream.write(line)
        stream.write(b"\n")


def _write_csv(stream: IO[bytes], lines: Iterable[bytes], delimiter: str = ",") -> None:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=False)
    writer = csv.DictWriter(text, COLUMNS, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for line in lines:
        row = flat(decode(line))
        row.update(cost_usd=usd_text(row["cost_usd"]), baseline_cost_usd=usd_text(row["baseline_cost_usd"]))
        row.update({key: str(value).lower() for key, value in row.items() if isinstance(value, bool)})
        writer.writerow(row)
    text.flush()
    text.detach()


def _write_tsv(stream: IO[bytes], lines: Iterable[bytes]) -> None:
    _write_csv(stream, lines, "\t")


WRITERS: dict[FileFormat, Callable[[IO[bytes], Iterable[bytes]], None]] = {
    FileFormat.JSONL: _write_jsonl,
    FileFormat.CSV: _write_csv,
    FileFormat.TSV: _write_tsv,
}


def _write_parquet(path: Path, lines: Iterable[bytes]) -> None:
    pyarrow, parquet = import_parquet(str(path))
    text, number, usd = pyarrow.string(), pyarrow.int64(), pyarrow.decimal128(38, 18)
    kinds = dict.fromkeys(COLUMNS, text) | {name: number for name in COLUMNS if name.endswith("_tokens")}
    kinds |= dict.fromkeys(("confidence", "score", "threshold", "seconds"), pyarrow.float64())
    kinds |= {"cost_usd": usd, "baseline_cost_usd": usd}
    kinds |= dict.fromkeys(("deferred", "baseline_estimated"), pyarrow.bool_())
    schema = pyarrow.schema([(name, kinds[name]) for name in COLUMNS])
    rows = list[dict[str, Any]]()
    with parquet.ParquetWriter(path, schema) as writer:
        for line in lines:
            rows.append(_quantized(flat(decode(line))))
            if len(rows) == PARQUET_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pyarrow.Table.from_pylist(rows, schema))


def _quantized(row: dict[str, Any]) -> dict[str, Any]:
    """Money with the 18 decimals that the Parquet column has: more than any price table gives."""
    for key in ("cost_usd", "baseline_cost_usd"):
        if row[key] is not None:
            row[key] = WIDE.quantize(row[key], DECIMALS_18)
    return row
