"""The command `mixlaw`: names, exit statuses and errors. What commands do is in `flows.cli`.

Nothing heavy is imported before a command runs, so that `mixlaw --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from flows.cli import check, deployments, mix, spec, study, table
from mixing.errors import InputError, MixlawError

# Fits are many small solves: a second BLAS thread only waits for the first, and for whoever else uses the core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="mixlaw",
    help="Choose the data mix for continual pre-training: small proxies, mixture scaling laws, and an answer "
    "with an error bar.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """--debug is taken out by `main`, wherever it stands; it is declared for --help."""


app.command()(study.demo)
app.command()(study.init)
app.command()(study.catalog)
app.command()(study.plan)
app.command()(study.run)
app.command()(study.status)
app.command()(table.fit)
app.command()(table.decide)
app.command()(mix.export)
app.command()(check.check)
app.add_typer(spec.app, name="spec")
app.command()(deployments.deploy)
app.command()(deployments.refresh)
app.command()(deployments.promote)
app.command()(deployments.compare)
app.command()(mix.ui)

_UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 the work failed, 2 bad usage or input, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    sys.exit(_run([argument for argument in arguments if argument != "--debug"], debug))


def _without_login(name: str, instead: str) -> None:
    """Refuse an address with a login in it: it would be shown wherever the address is."""
    if "@" in os.environ.get(name, ""):
        raise InputError(f"{name} has a login in it", f"Take it out, and set {instead}")


def _run(arguments: list[str], debug: bool) -> int:
    try:
        _without_login("PREFECT_API_URL", "PREFECT_API_AUTH_STRING=USER:PASSWORD")
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
            if type(error).__name__ == "NoArgsIsHelpError":
                return BAD_INPUT
            message = error.format_message()  # type: ignore[attr-defined]
            _line(f"{' '.join(message.split())} (see: mixlaw --help)")
            return BAD_INPUT
        reason = " ".join(str(error).split())[:300]
        _report(f"unexpected {type(error).__name__}: {reason}. Run again with --debug to see where", debug)
        return FAILED


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
