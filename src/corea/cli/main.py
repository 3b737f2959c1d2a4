"""The `corea` command: joins the commands, and turns every error into one line and an exit code."""

import sys
from importlib import import_module
from itertools import takewhile
from typing import Annotated

import typer

import corea
from corea.cli.console import EXIT_CODES, EXIT_CONFIG, EXIT_DATA, EXIT_INTERRUPTED, complain, exit_code, watched_stdout
from corea.cli.usage import usage_line
from corea.errors import CoreaError
from corea.registry import EXTRAS, install_hint

PANELS = {  # of `corea --help`: a name and the object that it runs
    "Set up": {
        "init": "corea.cli.init:init",
        "check": "corea.cli.check:check",
        "quickstart": "corea.cli.quickstart:quickstart",
        "demo": "corea.cli.demo:demo",
    },
    "Answer questions": {
        "ask": "corea.cli.ask:ask",
        "run": "corea.cli.run:run",
        "status": "corea.cli.status:status",
        "merge": "corea.cli.merge:merge",
        "serve": "corea.cli.serve:serve",
        "keys": "corea.cli.keys:keys",
        "state": "corea.cli.state:state",
        "audit": "corea.cli.audit:audit",
    },
    "Calibrate and evaluate": {
        "calibrate": "corea.cli.calibrate:app",
        "eval": "corea.cli.eval:evaluate",
        "compare": "corea.cli.compare:compare",
    },
    "Train": {
        "train": "corea.cli.train:app",
        "export": "corea.cli.export:export",
    },
}
COMMANDS = {name: (panel, target) for panel, commands in PANELS.items() for name, target in commands.items()}
GROUPS = ("train", "keys", "state")  # commands with subcommands


def print_version(show: bool) -> None:
    """Prints the version and ends."""
    if show:
        print(f"corea {corea.__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Cascades of language models: a small model answers if its confidence is high enough, else a larger one."""


def make_app(command: str | None = None) -> typer.Typer:
    """The application with one command, so that only that one is imported; with all of them for any other name."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog=EXIT_CODES,
    )
    app.callback()(root)
    for name in [command] if command in COMMANDS else COMMANDS:
        panel, target = COMMANDS[name]
        module, _, attribute = target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(found)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (see `corea.cli.console.EXIT_CODES`)."""
    given = sys.argv[1:] if arguments is None else arguments
    with watched_stdout() as stdout:
        try:
            code = _run(given)
            sys.stdout.flush()
        except (OSError, SystemExit):
            if stdout.failure is None:
                raise  # unrelated to standard output
            code = EXIT_DATA
    if stdout.failure is None:
        return code
    if isinstance(stdout.failure, BrokenPipeError):  # the reader has ended, as `head` does
        return 0
    complain(f"standard output: cannot be written ({stdout.failure.strerror}), expected a file or pipe with room")
    return EXIT_DATA


def _run(given: list[str]) -> int:
    try:
        app = make_app(given[0] if given else None)
        if not given or (given in [[name] for name in GROUPS]):
            given = [*given, "--help"]
        code = app(args=given, standalone_mode=False, prog_name="corea")
        return code if isinstance(code, int) else 0
    except CoreaError as error:
        complain(str(error))
        return exit_code(error)
    except typer.TyperException as error:  # wrong usage
        complain(usage_line(error, _command(given)))
        return error.exit_code
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in EXTRAS:
            raise  # a fault of ours
        complain(f"corea {given[0]}: needs {error.name}, which is not installed; {install_hint(str(error.name))}")
        return EXIT_CONFIG
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return EXIT_INTERRUPTED


def _command(given: list[str]) -> str:
    """The command that a command line names, with its subcommand if it has one."""
    named = list(takewhile(lambda word: not word.startswith("-"), given[: 2 if given[0] in GROUPS else 1]))
    return " ".join(["corea", *named]) if given[0] in COMMANDS else "corea"


if __name__ == "__main__":
    sys.exit(main())
