"""Plan of what a folder holds: a request per data set and suite, or the reason why one is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.api.contents import Holding
from harness.api.requests import Texts, check_options, lacking_denoiser, requests
from harness.base.errors import Absent, HarnessError, Incompatible

if TYPE_CHECKING:
    from harness.api.running import Execution
    from harness.evaluation.job import Job
    from harness.evaluation.request import Request


@dataclass(frozen=True)
class Planned:
    """A holding and its requests.

    remarks: sentences on models and methods that are left out. failed: true if the data or a setting are at fault, not
    a model that does not fit or weights that are absent.
    """

    holding: Holding
    request: Request | None = None
    remarks: Sequence[str] = ()
    reason: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Planner:
    """Options that apply to all data sets of a folder: see `harness.api.requests.requests`.

    full: take whole test sets also of suites that take a subset by default. execution: how to run.
    """

    settings: Mapping[str, Any]
    suite_settings: Mapping[str, Any]
    texts: Texts
    full: bool
    execution: Execution

    def prepare(self, request: Request) -> Job:
        """The job of a request; raises HarnessError for what does not fit."""
        from harness.api.running import prepared_one

        return prepared_one(request, self.execution)

    def check(self, holdings: Sequence[Holding]) -> None:
        """Raise HarnessError for an option that none of the suites takes."""
        from harness import plugins

        texts = [holding.text for holding in holdings if holding.text]
        if not texts:
            return
        for key, value in self.suite_settings.items():
            if value not in (None, []) and not any(key in plugins.suite.of(text).parameters for text in texts):
                names = ", ".join(sorted({text.partition(":")[0] for text in texts}))
                raise HarnessError(f"--{key}: {names}: none of them has such a setting. Leave out --{key}.")
        check_options([plugins.suite.configure(text) for text in texts], self.texts)

    def plan(self, holdings: Sequence[Holding], see: Callable[[Job], None]) -> Iterator[Planned]:
        """The requests of each holding, tried out: one job at a time is in memory, and shown to `see`."""
        for holding in holdings:
            if not holding.text:
                yield Planned(holding, reason=holding.reason)
                continue
            try:
                requests_and_remarks = [
                    (request, remarks)
                    for text, models, remarks in self._sized(holding)
                    for request in self._requests(text, models)
                ]
            except HarnessError as error:
                yield self._left_out(holding, error)
                continue
            for request, remarks in requests_and_remarks:
                yield self._tried(holding, request, remarks, see)

    def _tried(self, holding: Holding, request: Request, before: Sequence[str], see: Callable[[Job], None]) -> Planned:
        """A request without the models and methods that do not fit, or the reason why nothing of it is left.

        before: remarks on it so far.
        """
        try:
            request, remarks = self._with_denoiser(request)
            remarks = [*before, *remarks]
            try:
                job = self.prepare(request)
            except (Incompatible, Absent):
                request = self._fitting(request, remarks)
                job = self.prepare(request)
            see(job)
        except HarnessError as error:
            return self._left_out(holding, error)
        return Planned(holding, request, remarks)

    @staticmethod
    def _left_out(holding: Holding, error: HarnessError) -> Planned:
        return Planned(holding, reason=str(error), failed=not isinstance(error, Incompatible | Absent))

    def _requests(self, text: str, models: Sequence[str]) -> Sequence[Request]:
        from harness import plugins

        entry = plugins.suite.of(text)
        bench = plugins.suite.configure(text).plugin
        axis = plugins.AXES[bench.axis]
        texts = {kind: names for kind, names in self.texts.items() if kind in axis.kinds}
        if not any(texts.values()):  # named one by one, they are left out one by one
            texts[axis.kind] = bench.methods
        own = {key: value for key, value in self.suite_settings.items() if key in entry.parameters}
        settings = {**self.settings, "suite": [text], "models": models}
        return requests(settings, own, texts, self.full, self.execution.weight_files)

    def _sized(self, holding: Holding) -> list[tuple[str, Sequence[str], Sequence[str]]]:
        """The suite's text, models and remarks; once for each input size of these if its images may have any size.

        Models that cannot be loaded are left out; raises the first one's error if none is left.
        """
        from harness import plugins

        models = self.settings["models"]
        if "image_size" not in plugins.suite.of(holding.text).parameters or not models:
            return [(holding.text, models, ())]
        by_size: dict[int | None, list[str]] = {}
        absent: list[str] = []
        errors: list[HarnessError] = []
        for model in models:
            try:
                by_size.setdefault(self._input_size(model), []).append(model)
            except (Incompatible, Absent) as error:
                errors.append(error)
                absent.append(f"without {model}: {error}")
        if not by_size:
            raise errors[0]
        sized: list[tuple[str, Sequence[str], Sequence[str]]] = []
        for size, names in by_size.items():
            text = f"{holding.text},image_size={size}" if size else holding.text
            remark = f"{', '.join(names)} does not say its input size: images have the suite's own"
            sized.append((text, names, absent if size else [*absent, remark]))
        return sized

    def _input_size(self, model: str) -> int | None:
        """Height and width of the images that a classifier was made for; None if it does not say, or takes others."""
        from harness.models.lookup import find_classifier

        network, weights = find_classifier(model, self.execution.weight_files)
        sizes = weights.details.get("sizes") or getattr(network, "sizes", ())
        return int(sizes[0][0]) if sizes and sizes[0][0] == sizes[0][1] else None

    def _with_denoiser(self, request: Request) -> tuple[Request, list[str]]:
        """A request without methods whose diffusion model is not here, and a sentence on these."""
        name = None if self.settings["denoiser"] else request.spec.denoiser
        needing, lacking = lacking_denoiser(name, request.methods, self.execution.weight_files)
        if not needing:
            return request, []
        usable = [method for method in request.methods if method not in needing]
        names = ", ".join(method.text for method in needing)
        remark = f"without {names}: the weights of the diffusion model {name} ({lacking}) are not here"
        if not usable:
            raise Absent(f"{remark}. What to put where: harness weights list. Another one: --denoiser.")
        spec = replace(request.spec, methods=tuple(method.text for method in usable), denoiser=None)
        return replace(request, spec=spec, methods=usable), [remark]

    def _fitting(self, request: Request, remarks: list[str]) -> Request:
        """The request with those of several models alone that fit the data; a sentence is added for each other."""
        models = request.spec.models
        fitting = []
        errors: list[HarnessError] = []
        for model in models:
            try:
                self.prepare(replace(request, spec=replace(request.spec, models=(model,))))
                fitting.append(model)
            except (Incompatible, Absent) as error:
                errors.append(error)
                remarks.append(f"without {model}: {error}")
        if not fitting:
            raise errors[0]
        return replace(request, spec=replace(request.spec, models=tuple(fitting)))
