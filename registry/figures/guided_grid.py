"""Samples of each class by several guides (Sastry et al., NeurIPS 2024, guided generation)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness import plugins
from harness.plugins import figure
from harness.types.figures import Drawing, FigureSources

PAGE = 7.0
"""Width in inches of a page with two columns."""


@figure(
    "guided-grid",
    paper="Sastry et al., NeurIPS 2024, section 4.3",
    denoiser="digits",
    classifiers=("digits/encoder+noisy", "digits/encoder+da"),
)
@dataclass(frozen=True)
class GuidedGrid:
    """The samples of `harness generate` by guide and class; all guides share the noise of start and steps.

    guides: names; each is a row per scale, and per --model where it asks a classifier. classes: of the samples, by
    default each once. steps: of DDIM, whose eta is the denoiser's usual one. judge: classifier of the samples, for the
    CSV. width: in inches.
    """

    guides: tuple[str, ...] = ("none", "classifier")
    scales: tuple[float, ...] = (3, 10)
    classes: tuple[int, ...] = ()
    steps: str = "ddim25"
    judge: str = "digits/resnet"
    dataset: str = "digits"
    width: float = PAGE

    def __call__(self, sources: FigureSources) -> Drawing:
        import numpy as np
        import torch

        from harness.generation.spec import sample_id
        from harness.report.figures.grids import picture_grid

        jobs, judge = self._jobs(sources), sources.classifier(self.judge, sources.dataset(self.dataset))
        numbers = range(jobs[0].spec.samples)
        pictures, beside, rows = [], [], []
        for job in sources.track(jobs, "samples"):
            samples = torch.from_numpy(np.asarray(job.sample(numbers))).permute(0, 3, 1, 2).float() / 255
            pictures.append(samples.numpy())
            beside.append("\n".join(filter(None, (job.spec.model, job.spec.guide))))
            answers = judge(samples).softmax(1)
            columns = job.labels, answers.gather(1, job.labels[:, None])[:, 0], answers.argmax(1)
            rows += [
                (job.spec.guide, job.spec.model, sources.seed, *row)
                for row in zip(map(sample_id, numbers), *(column.tolist() for column in columns), strict=True)
            ]
        drawn = picture_grid(
            np.stack(pictures), [str(label) for label in jobs[0].labels.tolist()], beside, title="class",
            width=self.width,
        )  # fmt: skip
        caption = (
            "Samples of each class, a row per guide; all rows share the noise of start and steps. DDIM, "
            f"{self.steps}, eta = {jobs[0].spec.sampling.eta:g}. Seed: {sources.seed}. Diffusion model: "
            f"{sources.diffusion}. Numbers: the probability that {self.judge} gives the class asked for, and the class "
            "that it finds most probable."
        )
        return Drawing(
            drawn, ("guide", "classifier", "seed", "sample", "class", "probability", "judged"), rows, caption
        )

    def _jobs(self, sources: FigureSources) -> list[Any]:
        """A generation per row, checked."""
        plugins.discover()
        count = len(self.classes) or sources.dataset(self.dataset).num_classes
        classes = ",".join(map(str, self.classes)) or "balanced"
        settings = {"dataset": self.dataset, "samples": count, "classes": classes, "steps": self.steps}
        jobs: list[Any] = []
        for name in self.guides:
            texts = [name] if name == "none" else [f"{name}:scale={scale!r}" for scale in self.scales]
            for model in sources.classifiers if plugins.guide[name].facts.get("classifier") else [""]:
                jobs += [sources.generation(text, model, **settings) for text in texts]
        return [replace(job, denoiser=jobs[0].denoiser) for job in jobs]  # one in memory, not one per row
