"""The commands, put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import harness
from harness.cli.commands import analyse, augment, data, weights
from harness.cli.commands.generate import generate
from harness.cli.commands.launch.status import status
from harness.cli.commands.list import list_plugins
from harness.cli.commands.new import new
from harness.cli.commands.rerun import rerun
from harness.cli.commands.results.compare import compare
from harness.cli.commands.results.effective import effective
from harness.cli.commands.results.ensemble import ensemble
from harness.cli.commands.results.figure import figure
from harness.cli.commands.results.gallery import gallery
from harness.cli.commands.results.leaderboard import leaderboard
from harness.cli.commands.results.networks.attack import attack
from harness.cli.commands.results.networks.rescore import rescore
from harness.cli.commands.results.posthoc import posthoc
from harness.cli.commands.results.report import report
from harness.cli.commands.results.reproduce import reproduce
from harness.cli.commands.results.share import app as results_app
from harness.cli.commands.results.show import show
from harness.cli.commands.run import run
from harness.cli.commands.score import score
from harness.cli.commands.train import train
from harness.report.escape import printable

USAGE_ERRORS: Any = typer.BadParameter.__mro__[2]
"""Click's error for bad arguments; depending on its version, typer imports click or contains a copy."""


class Commands(TyperGroup):
    """The commands; messages on bad arguments show none of the control characters in them."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """See `click.Command.make_context`."""
        with _printable_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
        """See `click.Group.invoke`, which parses the arguments of the command, too."""
        with _printable_errors():
            return super().invoke(ctx)


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except USAGE_ERRORS as error:
        error.message = printable(error.message)
        raise


app = typer.Typer(
    name="harness",
    cls=Commands,
    help="Benchmark the robustness of image classifiers (covariate shift, certification, out-of-distribution "
    "detection), with test-time methods and paired statistics, and train them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"harness {harness.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


app.command()(run)
app.command()(status)
app.command()(train)
app.command()(generate)
app.command()(score)
app.add_typer(analyse.app, name="analyse")
app.add_typer(data.app, name="data")
app.add_typer(augment.app, name="augment")
app.add_typer(weights.app, name="weights")
app.command("list")(list_plugins)
app.command()(new)
app.command()(compare)
app.command()(leaderboard)
app.command()(report)
app.command()(reproduce)
app.command()(show)
app.command()(effective)
app.command()(ensemble)
app.command()(posthoc)
app.command()(rerun)
app.command()(gallery)
app.command()(figure)
results_app.command()(rescore)
results_app.command()(attack)
app.add_typer(results_app, name="results")
