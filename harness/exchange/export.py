"""Records as metadata of model cards on the Hugging Face hub, made by its own library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError, suggest
from harness.base.files import writing
from harness.evaluation.records.record import RunRecord
from harness.report.names import label, plain, spell
from harness.types import Metric

SOURCE = "https://huggingface.co/docs/hub/eval-results"
"""Description of the format."""

Files = dict[str, str]
"""Texts by the name of their file in the repository of a model."""


def export(
    form: str, entries: Sequence[RunRecord], out: Path, dataset: str, repository: str, partial_too: bool = False
) -> list[Path]:
    """Write the records of one classifier in a form of `FORMS`; the files that were written.

    dataset: id of the benchmark on the hub, ORG/NAME; "" names the suite. repository: name of the model there.
    partial_too: take records of a part of the test set, too; readers of the hub would take their numbers for the
    benchmark's. A README.md that is there keeps its text and its other metadata.

    Raises HarnessError for an unknown form, for what the form lacks, for records of a part of the test set, and for a
    README.md whose metadata cannot be read.
    """
    if form not in FORMS:
        raise suggest("form", form, list(FORMS))
    parts = [entry for entry in entries if entry.status != "complete"]
    if parts and not partial_too:
        named = "; ".join(f"{label(entry)} on {entry.suite}: {entry.coverage}" for entry in parts[:3])
        raise HarnessError(
            f"{len(parts)} of {len(entries)} records cover a part of the test set ({named}), and a model card would "
            "show their numbers as the benchmark's. Choose others with --suite, or add --allow-partial."
        )
    paths = []
    for name, text in FORMS[form](entries, dataset, repository).items():
        path = out / name
        text = _merged(path, text) if name == "README.md" and path.exists() else text
        with writing(path) as partial:
            partial.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def eval_results(entries: Sequence[RunRecord], dataset: str, repository: str) -> Files:
    """``.eval_results/SUITE--METHOD.yaml``: the first column of each record, with its interval in the notes.

    The format has one value, and no interval; a benchmark must be registered on the hub under the id `dataset`.
    """
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError as error:
        raise HarnessError("hf-eval-results needs a newer package: pip install --upgrade huggingface_hub.") from error
    if not dataset:
        raise HarnessError(
            "hf-eval-results names a benchmark that is registered on the hub: give its id with --dataset ORG/NAME. "
            f"For other data: --to model-index. See {SOURCE}"
        )
    files: Files = {}
    for entry in entries:
        metric = _first(entry)
        notes = f"{metric.name} of {metric.condition}, {entry.variant}: {_described(entry, metric)}"
        result = EvalResultEntry(
            dataset_id=dataset, task_id=plain(entry.suite), value=metric.value, date=entry.created, notes=notes
        )
        files[f".eval_results/{entry.path.stem if entry.path else entry.key}.yaml"] = _yaml(
            eval_result_entries_to_yaml([result])
        )
    return files


def model_index(entries: Sequence[RunRecord], dataset: str, repository: str) -> Files:
    """``README.md`` with the metadata ``model-index``: every column of each record that a leaderboard shows."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="image-classification",
            dataset_type=dataset or entry.dataset,
            dataset_name=f"{entry.suite} v{entry.suite_version}, {entry.coverage}",
            metric_type=metric.name,
            metric_value=metric.value,
            metric_name=f"{metric.name} of {metric.condition}, {entry.variant}: {_described(entry, metric)}",
            dataset_config=entry.suite,
            dataset_split="test",
        )
        for entry in entries
        for column in entry.columns
        if (metric := entry.metric(*column))
    ]
    if not results:
        raise HarnessError(f"The records of {repository} have no metrics that a leaderboard shows.")
    card = ModelCardData(model_name=repository, eval_results=results, pipeline_tag="image-classification")
    return {"README.md": f"---\n{card.to_yaml()}\n---\n\n# {repository}\n"}


def _merged(path: Path, text: str) -> str:
    """A README that is there with the results of a new one: its words, and all its other metadata, stay."""
    from huggingface_hub import ModelCard, ModelCardData

    try:
        there, new = ModelCard(path.read_text(encoding="utf-8")), ModelCard(text)
        data = {**there.data.to_dict(), "model-index": new.data.to_dict()["model-index"]}
        stated = there.data.eval_results or []
    except Exception as error:  # each part of the hub's library has its own kinds
        raise HarnessError(
            f"{path} is there, and its metadata cannot be read ({type(error).__name__}). Give another --out."
        ) from error
    ours = new.data.eval_results or []
    own = {_place(result) for result in ours}
    kept = [result for result in stated if _place(result) not in own]
    data.pop("model-index")
    name = there.data.get("model_name") or new.data.get("model_name")
    there.data = ModelCardData(
        **{**data, "model_name": name, "eval_results": [*kept, *ours]}, ignore_metadata_errors=True
    )
    return str(there)


def _place(result: Any) -> tuple[Any, ...]:
    """What a result of a card measures; a new one replaces the old one of the same."""
    return (
        result.task_type, result.dataset_type, result.dataset_name, result.dataset_config, result.dataset_split,
        result.metric_type, str(result.metric_name).partition(":")[0],
    )  # fmt: skip


FORMS: Mapping[str, Callable[[Sequence[RunRecord], str, str], Files]] = {
    "hf-eval-results": eval_results,
    "model-index": model_index,
}
"""By name, from records to files."""


def _first(entry: RunRecord) -> Metric:
    metric = entry.metric(*entry.columns[0])
    if metric is None:
        raise HarnessError(f"{entry.path}: {' of '.join(entry.columns[0])} is undefined: it cannot be exported.")
    return metric


def _described(entry: RunRecord, metric: Metric) -> str:
    percent = " %" if metric.unit == "fraction" else f" {metric.unit}"
    return f"{spell(metric)}{percent}, 95 % interval, n = {metric.n}, record {entry.key}, {entry.status}"


def _yaml(values: Any) -> str:
    from huggingface_hub.utils import yaml_dump

    return str(yaml_dump(values))
