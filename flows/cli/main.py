"""The command `mixlaw`: names, exit statuses and errors. Each command stands in the file of its name.

A command's file is imported when the command runs, so `mixlaw --help` imports nothing heavy.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from flows.settings.logins import refuse_login
from flows.settings.terminal import print_plainly_where_needed, read_arguments_as_unicode
from mixing.errors import MixlawError

# Fits are many small solves: a second BLAS thread only waits for the first, and for whatever else uses the core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

COMMANDS: dict[str, dict[str, str]] = {
    "A study": {
        "demo": "Run a whole study on text of this machine, in 5 to 8 minutes.",
        "init": "Write a commented study file for folders of text.",
        "catalog": "Summarise the corpora: documents, sizes, duplicates, flaws.",
        "plan": "Show the planned runs and their cost, before any is trained.",
        "run": "Run the whole study; finished runs are kept.",
        "status": "Show progress: runs done, running, failed and left; speed and cost.",
    },
    "Any table of runs": {
        "import-runs": "Write a runs table out of other trainers' logs.",
        "fit": "Fit and cross-validate the laws; choose one per validation set.",
        "decide": "Find the critical ratio, or the best mixture, with intervals.",
        "predict": "Predict the losses of a run of one mixture, with intervals.",
    },
    "A mix": {
        "export": "Write a mix spec as a trainer's own file.",
        "check": "Compare what the trainer's own loader draws with the mix spec.",
        "spec": "Show, compare, validate or import mix specs.",
        "compare": "Compare two mixes: shares, predicted losses, intervals, cost.",
        "promote": "Make a version of a registered mix the champion, or roll back.",
        "ui": "Open the MLflow UI on what was logged. Ctrl-C ends it.",
    },
    "On a schedule": {
        "deploy": "Create Prefect deployments of a study, scheduled or by hand.",
        "refresh": "Run a study again if a change in its corpora can move its mix.",
    },
}
"""The commands by their heading in `mixlaw --help`, each with the first line of its own help."""


class _LazyCommand(TyperCommand):
    """A command's name and help; the command itself is imported when it is called."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return command(self.name or "").make_context(info_name, args, parent, **extra)


class _Commands(TyperGroup):
    """The commands of `COMMANDS`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for part in COMMANDS.values() for name in part]

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        for heading, part in COMMANDS.items():
            if cmd_name in part:
                return _LazyCommand(cmd_name, help=part[cmd_name], rich_help_panel=heading)
        return None


def command(name: str) -> Any:
    """The command `name`: the function of that name in `flows/cli/NAME.py` (_ for -), or the group `app` there."""
    place = name.replace("-", "_")
    module = importlib.import_module(f"flows.cli.{place}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        function = getattr(module, place)
        app.command(name, help=_unwrapped(function.__doc__))(function)
    return typer.main.get_command(app)


def _unwrapped(docstring: str) -> str:
    """A docstring with a line per paragraph, so that help wraps where the terminal does."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


app = typer.Typer(
    name="mixlaw",
    cls=_Commands,
    help="Choose the data mix for continual pre-training: small proxies, mixture scaling laws, and an answer "
    "with an error bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mixlaw {importlib.metadata.version('mixlaw')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Declare --debug for --help; `main` takes it out of the arguments, wherever it stands."""


_UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 the work failed, 2 bad usage or input, 130 interrupted."""
    if arguments is None:
        read_arguments_as_unicode()
    print_plainly_where_needed()
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    sys.exit(_run([argument for argument in arguments if argument != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    try:
        refuse_login("PREFECT_API_URL", "PREFECT_API_AUTH_STRING=USER:PASSWORD")
        status = app(args=arguments, prog_name="mixlaw", standalone_mode=False)
        sys.stdout.flush()
        if status == INTERRUPTED:
            _line("interrupted")
        return status if isinstance(status, int) else DONE
    except MixlawError as error:
        _report(str(error), debug)
        _forget(error)
        return error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        _line("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout (`| head`) has gone. Python would complain once more on exiting.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if isinstance(error, _UsageError):
            return _bad_usage(error)
        reason = _start_and_end(" ".join(str(error).split()))
        _report(f"unexpected {type(error).__name__}: {reason}. Run again with --debug to see where", debug)
        return FAILED


def _start_and_end(line: str) -> str:
    """A long message without its middle: libraries say at the end what to do."""
    return line if len(line) <= 400 else f"{line[:150]} ... {line[-250:]}"


def _bad_usage(error: Any) -> int:
    """Say in one line what is wrong with the arguments, and whose help to read."""
    # With no arguments at all the help has been printed already.
    if type(error).__name__ != "NoArgsIsHelpError":
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "mixlaw"
        _line(f"{' '.join(error.format_message().split())} (see: {path} --help)")
    return BAD_INPUT


def _forget(error: BaseException | None) -> None:
    """Let go of what an error holds: Prefect keeps it, and DuckDB complains of its objects left at exit."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _report(message: str, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    _line(" ".join(message.split()))


def _line(message: str) -> None:
    print(f"mixlaw: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
