"""The `corea` command: joins the commands, and turns every error into one line and an exit code."""

import sys
from importlib import import_module
from itertools import takewhile

import typer

import corea
from corea.cli.console import EXIT_CODES, EXIT_CONFIG, EXIT_DATA, EXIT_INTERRUPTED, complain, exit_code
from corea.cli.stdout import watched_stdout
from corea.cli.usage import usage_line
from corea.errors import CoreaError
from corea.registry import EXTRAS, install_hint


def version(show: bool) -> None:
    """Print the version and end."""
    if show:
        print(f"corea {corea.__version__}")
        raise typer.Exit


def root(
    version: bool = typer.Option(
        False, "--version", callback=version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    """Small models answer when they are sure, large ones when they are not."""


COMMANDS = {
    "ask": "corea.cli.ask:ask",
    "run": "corea.cli.run:run",
    "serve": "corea.cli.serve:serve",
    "calibrate": "corea.cli.calibrate:app",
    "eval": "corea.cli.eval:evaluate",
    "compare": "corea.cli.compare:compare",
    "init": "corea.cli.init:init",
    "check": "corea.cli.check:check",
    "demo": "corea.cli.demo:demo",
    "export": "corea.cli.export:export",
    "train": "corea.cli.train:app",
    "keys": "corea.cli.keys:keys",
}
GROUPS = ("train", "keys")  # those that have subcommands


def make_app(asked: str | None = None) -> typer.Typer:
    """The application; only the command that is asked for is imported, or all of them where none is named."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        epilog=EXIT_CODES,
    )
    app.callback()(root)
    for name in [asked] if asked in COMMANDS else COMMANDS:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; gives the exit code (see `corea.cli.console.EXIT_CODES`)."""
    given = sys.argv[1:] if arguments is None else arguments
    with watched_stdout() as stdout:
        try:
            code = _run(given)
            sys.stdout.flush()
        except (OSError, SystemExit):
            if stdout.failure is None:
                raise  # not about our output
            code = EXIT_DATA
    if stdout.failure is None:
        return code
    if isinstance(stdout.failure, BrokenPipeError):  # the reader went away, as `head` does
        return 0
    complain(f"standard output: cannot be written ({stdout.failure.strerror}), expected a file or pipe with room")
    return EXIT_DATA


def _run(given: list[str]) -> int:
    try:
        app = make_app(given[0] if given else None)
        if not given or given in [[group.name] for group in app.registered_groups]:
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
            raise  # ours to mend
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
