"""Checks before anything is asked, of what would otherwise fail when all is paid: the output's place and its disk."""

import os
import shutil
from pathlib import Path
from tempfile import TemporaryFile

from corea.cascade import Cascade
from corea.errors import ConfigError, DataError
from corea.run.readers import import_parquet
from corea.run.source import FileFormat

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
        ConfigError: It is no run's, or needs what is not installed.
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
    except OSError:  # a place that does not tell
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
