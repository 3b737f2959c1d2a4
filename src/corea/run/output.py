"""Answers to files: JSON lines hold whole traces, CSV, TSV and Parquet one flat row a question; .gz packs
them.

A file is written beside its place and moved there when it is whole: nobody ever sees half of one.
"""

import csv
import gzip
import io
import os
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from decimal import Context, Decimal
from pathlib import Path
from typing import IO, Any, cast

from corea.errors import DataError
from corea.ledger import money
from corea.run.journal import BUFFER
from corea.run.readers import import_parquet
from corea.run.source import FileFormat, format_of
from corea.trace_io import decode
from corea.types import Trace, Usage

COLUMNS: tuple[str, ...] = (
    "id", "answer", "status", "stage", "confidence", "signal", "deferred", "text", "cost_usd", "baseline_cost_usd",
    "baseline_estimated", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens", "seconds", "error",
    "trace_id",
)  # fmt: skip
PARQUET_ROWS = 1024  # a row group
WIDE, DECIMALS_18 = Context(prec=60), Decimal(1).scaleb(-18)


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
        row.update(cost_usd=money(row["cost_usd"]), baseline_cost_usd=money(row["baseline_cost_usd"]))
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
    kinds |= {"cost_usd": usd, "baseline_cost_usd": usd, "confidence": pyarrow.float64(), "seconds": pyarrow.float64()}
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
