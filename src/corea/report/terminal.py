"""Progress bars of all commands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import TaskID


class ProgressBars:
    """Progress bars on standard error, one for each phase; none when quiet or where that is not a terminal.

    In a narrow window the counts are shown whole, and the facts behind them as far as they fit.
    """

    def __init__(self, *, quiet: bool = False, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column

        console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[facts]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            expand=True,
            disable=quiet or not console.is_terminal,
        )
        self._phase = ""
        self._task: TaskID | None = None

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(self, *ended: object) -> None:
        self._bars.stop()

    def start(self, phase: str, steps: int | None = None) -> None:
        """Begins a phase; one of no steps is shown as done."""
        done = steps == 0
        self._phase = phase
        self._task = self._bars.add_task(phase, total=1 if done else steps, completed=int(done), facts="")
        self._bars.start()  # not before: an error ahead of the first phase stays one clear line

    def advance(self) -> None:
        """Counts one step of the phase as done."""
        if self._task is not None:
            self._bars.advance(self._task)

    def show(self, phase: str, done: int, total: int | None, facts: str = "") -> None:
        """The state of a phase, which begins with its first call."""
        if self._task is None or phase != self._phase:
            self._phase = phase
            self._task = self._bars.add_task(phase, total=total, completed=done, facts=facts)
        else:
            self._bars.update(self._task, completed=done, total=total, facts=facts)
        self._bars.start()
