"""Settings of a text beside a library's own configuration: the stated ones count, and the record says what differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from harness.models.external.class_names import check_count, contradictions, naming, read_classes
from harness.models.external.text import ModelText
from harness.models.preprocessing import Preprocessing, wrapped


def finished(
    network: nn.Module, own: Preprocessing, text: ModelText, names: Sequence[str], count: int
) -> tuple[nn.Module, dict[str, Any]]:
    """A library's network as a classifier of images in [0, 1] under the settings of a text, and details for its record.

    own, names: what its configuration states of images and of outputs. count: number of its outputs.
    """
    classifier, details, differences = wrapped(network.eval(), text.preprocessing, own)
    named = outputs(text, names, count)
    notes = [*differences, *details.pop("notes", ()), *named.pop("notes", ())]
    details = {"arguments": {"num_classes": count}, **details, **named}
    return classifier, {**details, **({"notes": notes} if notes else {})}


def outputs(text: ModelText, names: Sequence[str], count: int) -> dict[str, Any]:
    """Details for a record on the names of the outputs: those of the text's file, or else the configuration's."""
    if not text.classes:
        return naming(names) if len(names) == count else {}
    stated = read_classes(Path(text.classes))
    check_count(stated, count, text.classes)
    notes = contradictions(stated, names, text.classes)
    return {**naming(stated), **({"notes": notes} if notes else {})}


def beside(text: ModelText) -> list[Path]:
    """Files that decide a classifier's numbers beside its weights: that of its class names."""
    return [Path(text.classes)] if text.classes else []
