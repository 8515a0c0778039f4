"""The commands, put together."""

from __future__ import annotations

import typer

from harness.cli import data
from harness.cli.augment import app as augment
from harness.cli.run import run
from harness.cli.show import compare, leaderboard, list_plugins
from harness.cli.train import train
from harness.cli.weights import app as weights

app = typer.Typer(
    name="harness",
    help="Benchmark the robustness of image classifiers (covariate shift, certification, out-of-distribution "
    "detection), with test-time methods and paired statistics, and train them.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(run)
app.command()(train)
app.add_typer(data.app, name="data")
app.add_typer(augment, name="augment")
app.add_typer(weights, name="weights")
app.command("list")(list_plugins)
app.command()(compare)
app.command()(leaderboard)
