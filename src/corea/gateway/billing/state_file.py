"""The place of the database: its path, its lock, and the note beside it."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from corea.errors import ConfigError

NOTE = """{name} is the database of `corea serve`: keys, spending and decisions.

Do not copy it while the server runs: most of the newest data is in {name}-wal, and a copy of {name} alone lacks it.
    corea state backup FILE      a complete copy, also while the server runs
    corea state restore FILE     puts one back, while no server runs
"""


@contextlib.contextmanager
def state_file(path: Path | None) -> Iterator[tuple[Path, bool]]:
    """The path of a server's database, locked, and True if it is temporary.

    Args:
        path: None makes a temporary one.

    Raises:
        ConfigError: It cannot be written, or another server uses it.
    """
    if path is None:
        with tempfile.TemporaryDirectory(prefix="corea-") as folder:
            yield Path(folder) / "corea.db", True
        return
    with locked(path):
        write_note(path)
        yield path, False


def write_note(path: Path) -> None:
    """Puts a note beside the database that warns against plain copies of it."""
    note = path.with_name(f"README-{path.name}.txt")
    with contextlib.suppress(OSError):
        if not note.exists():
            note.write_text(NOTE.format(name=path.name), encoding="utf-8")


@contextlib.contextmanager
def locked(path: Path, todo: str = "name another file") -> Iterator[None]:
    """Holds a database for one server: two would each let a key spend its whole budget.

    Args:
        todo: Advice where another one holds it.

    Raises:
        ConfigError: Another one holds it, or the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    where = f"gateway.storage.path: {path}"
    try:
        file = open(f"{path}.lock", "a")  # noqa: SIM115  # held to the end
    except OSError as error:
        raise ConfigError(f"{where} cannot be used ({error.strerror}); name a file that can be written") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{where} is in use by another `corea serve`; {todo}") from error
        yield
