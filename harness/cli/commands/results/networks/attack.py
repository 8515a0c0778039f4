"""``harness results attack``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import Files, Plugin

if TYPE_CHECKING:
    from harness.api.rerun.attacked import CertifiedRecord
    from harness.api.rerun.certificates import AttackedRecord, CertificateAttack

SHOWN = 8
"""Broken certificates of one noise level that the terminal lists; --out has all of them."""


Record = Annotated[Path, typer.Argument(help="Record of a suite that certifies, with its sample table.")]
Eps = Annotated[str, typer.Option(help="Radius of the ball for images in [0, 1]: 0.25, or 64/255.")]
AttackText = Annotated[
    str, typer.Option(help="Attack that adds Gaussian noise itself; sigma is that of each level unless it is set.")
]
Norm = Annotated[str, typer.Option(help="Norm of the ball: l2, in which such certificates hold.")]
Draws = Annotated[
    int | None, typer.Option(min=1, help="Noise draws that vote on an attacked image. [default: the record's n]")
]
Alpha = Annotated[float | None, typer.Option(help="Probability that such a vote is wrong. [default: the record's]")]
Limit = Annotated[int, typer.Option(min=0, help="At most this many certificates per noise level; 0 for all.")]
DenoiserName = Annotated[
    str, typer.Option(help="The record's diffusion model, where it has another name or path here.")
]
Out = Annotated[Path | None, typer.Option(help="JSON file for the figures, and for all that made them.")]


def attack(
    record: Record,
    eps: Eps,
    attack: AttackText = "smooth-pgd",
    norm: Norm = "l2",
    draws: Draws = None,
    alpha: Alpha = None,
    limit: Limit = 0,
    data: Annotated[str, typer.Option(help="Folder of the data, where it has moved.")] = "",
    denoiser: DenoiserName = "",
    out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the network calls and the time.")] = False,
    weights: Files = [],  # noqa: B006
    plugin: Plugin = [],  # noqa: B006
) -> None:
    """Attack a record's certificates beyond eps, within l2 balls of eps, and vote again on the attacked images.

    A certificate is broken where another class is significant at alpha, among draws that neither certification nor
    attack saw. Right certificates look broken with probability alpha + the record's alpha at most, each: the number is
    compared with the binomial distribution.

    Exit code 0: no more are broken than by chance; 1: so many have a probability below 1 %; 2: it cannot be done here.

    Example: `harness results attack results/local/certify/RECORD.json --eps 0.25 --limit 8 --draws 1000`
    """
    from harness import plugins
    from harness.api.rerun.attacked import CertifiedRecord
    from harness.api.weight_files import weight_files_of
    from harness.base.files import check_writable
    from harness.evaluation.records.record import load

    plugins.discover(*plugin)
    settings = _settings(eps, norm=norm, attack=attack, draws=draws, alpha=alpha, limit=limit)
    if out:
        check_writable(out.parent)
    with tempfile.TemporaryDirectory() as folder:
        at_hand = {"data": data, "denoiser": denoiser}
        certified = CertifiedRecord.open(load(record), settings, Path(folder), weight_files_of(weights), **at_hand)
        attacked = _attacked(certified, dry_run)
    if attacked:
        _print(attacked)
        if out:
            _write(out, attacked)
        raise typer.Exit(0 if attacked.plausible else 1)


def _settings(eps: str, **others: Any) -> CertificateAttack:
    """The settings of an attack. eps: a number or a fraction."""
    from harness.api.rerun.certificates import CertificateAttack
    from harness.plugins.settings import parse

    return CertificateAttack(**parse(f"--eps {eps}", f"eps={eps}", {"eps": float}, {}), **others)


def _attacked(certified: CertifiedRecord, dry_run: bool) -> AttackedRecord | None:
    """The outcome of the attack, under a progress bar; None for a dry run, whose table is printed."""
    from harness.terminal import console

    if dry_run:
        console.show(certified.cost().table())
        return None
    with console.progress() as bar:
        task = bar.begin("certificates")
        return certified.attack(lambda done, total: bar.update(task, total=total, completed=done, computed=done))


def _print(attacked: AttackedRecord) -> None:
    from harness.terminal import console

    console.show(attacked.table())
    for level in attacked.levels:
        for one in level.broken[:SHOWN]:
            console.out.print(
                f"{level.condition}: broken {one.id}: class {one.prediction} within {one.radius:.4g}, and {one.answer} "
                "under attack.",
                soft_wrap=True,
            )
        if (more := len(level.broken) - SHOWN) > 0:
            console.out.print(f"{level.condition}: {more} more are broken; --out FILE lists all.", soft_wrap=True)
    for sentence in attacked.sentences:
        console.out.print(sentence, soft_wrap=True)


def _write(out: Path, attacked: AttackedRecord) -> None:
    import json

    from harness.base.files import writing
    from harness.terminal import console

    with writing(out) as partial:
        partial.write_text(json.dumps(attacked.as_json(), indent=1) + "\n", encoding="utf-8")
    console.out.print(f"Wrote {out}", soft_wrap=True)
