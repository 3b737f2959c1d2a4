"""A command that checks a draft: a test, a compiler, a linter."""

import asyncio
import os
import shutil
import signal as signals
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from corea.errors import ConfigError
from corea.parsing import visible_text
from corea.types import Completion, Confidence, Question

PASSED_ON = (  # no key is among them
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP",
    "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
)  # fmt: skip
AT_ONCE = 2 * (os.cpu_count() or 1)
_running: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """The exit status of a command that reads the draft from its standard input: 0 passes.

    Its output is discarded. At the limit it is killed with the processes that it started, unless they left its session;
    these are killed too when it ends before them. It runs beside the event loop, twice as many at once as there are
    processors; others wait.

    Args:
        command: The program and its arguments; no shell is involved.
        seconds: Its time limit.
        folder: The folder that it runs in; default: that of the configuration.
        environment: Names of further variables that it sees. By default those of the system (`PATH`, `HOME`, `LANG`,
            ...) and no key.
        visible: The text is read without thinking and tags, as `mode = "answer"` shows it.
    """

    command: tuple[str, ...]
    seconds: float = 5.0
    folder: str = "."
    environment: tuple[str, ...] = ()
    visible: bool = True

    def __post_init__(self) -> None:
        if not self.command or not self.seconds > 0:
            raise ConfigError(
                f"signal command: got command {list(self.command)} and {self.seconds} seconds, expected a program with "
                "its arguments, and more than 0"
            )
        if self._program() is None:
            raise ConfigError(
                f"signal command: got {self.command[0]!r}, expected a program on PATH, or the path of one that can be "
                f"run, relative to {self.folder!r}; install it or correct the path"
            )

    def _program(self) -> str | None:
        program = self.command[0]
        if os.path.dirname(program):
            program = str((Path(self.folder) / program).absolute())
        return shutil.which(program)

    async def measure(self, question: Question, completion: Completion) -> Confidence:
        text = visible_text(completion.text) if self.visible else completion.text
        async with _running.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)):
            fault = await self._run(text.encode("utf-8", "replace"))
        return Confidence(value=0.0 if fault else 1.0, signal="command", reason=fault, spans=())

    async def _run(self, text: bytes) -> str:
        """The reason of a failure; "" for none."""
        name = self.command[0]
        with tempfile.TemporaryFile() as draft:  # a pipe would wait for a reader that may never come
            draft.write(text)
            draft.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    self._program() or name,
                    *self.command[1:],
                    stdin=draft,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    cwd=self.folder,
                    env=self._environment(os.environ),
                    start_new_session=True,
                )
            except OSError as error:
                return f"{name} cannot be run: {error.strerror}"
        try:
            async with asyncio.timeout(self.seconds):
                await process.wait()
        except TimeoutError:
            return f"{name} took more than {self.seconds:g} s"
        finally:
            _kill(process)
            await process.wait()
        return "" if process.returncode == 0 else f"{name} ended with status {process.returncode}"

    def _environment(self, whole: Mapping[str, str]) -> dict[str, str]:
        return {name: whole[name] for name in (*PASSED_ON, *self.environment) if name in whole}


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kills a process with its group, which outlives it where it left others behind."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signals.SIGKILL)
        elif process.returncode is None:
            process.kill()
