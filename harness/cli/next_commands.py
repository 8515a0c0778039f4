"""Commands that take the result of a training on, as its last lines name them."""

from __future__ import annotations

from pathlib import Path

from harness.train.spec import TrainSpec


def where(use: str, spec: TrainSpec) -> list[str]:
    """The options of ``harness run`` that name the suite of the training's data and their folder."""
    from harness import plugins

    suite = plugins.suite.get(spec.dataset)
    if suite is None or not use.startswith("harness run") or "--suite" in use or spec.dataset == "digits":
        return []
    return ["--suite", spec.dataset, *(["--data", spec.data] if spec.data and "data" in suite.parameters else [])]


def attacking(spec: TrainSpec, out: Path) -> str:
    """The command that attacks the result of an adversarial training at its eps; "" where no suite of its data does."""
    from harness import plugins

    suite = plugins.suite.get(f"{spec.dataset}-adversarial") if spec.adversarial else None
    if suite is None:
        return ""
    norm = f"norm={spec.attack_norm}," if spec.attack_norm != TrainSpec.attack_norm else ""
    data = f" --data {spec.data}" if spec.data and "data" in suite.parameters else ""
    return f"harness run --suite {suite.name}:{norm}eps={spec.attack_eps}{data} --model {out}"
