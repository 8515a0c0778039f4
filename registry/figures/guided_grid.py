"""Samples of each class by several guides (Sastry et al., NeurIPS 2024, guided generation)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import plugins
from harness.plugins import Configured, figure
from harness.types import HarnessError
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
    """Samples by guide and class; all guides start from the same noise.

    guides: names; each is a row per scale, and per --model where it asks a classifier. classes: of the samples, by
    default each once. steps: of DDIM, which adds no noise. judge: classifier of the samples, for the CSV. width: in
    inches.
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

        from harness.diffusion.guided import sample_noise
        from harness.report.figures.grids import picture_grid

        data, judge = sources.dataset(self.dataset), sources.classifier(self.judge)
        if not all(0 <= label < data.num_classes for label in self.classes):
            classes = ",".join(map(str, self.classes))
            raise HarnessError(f"guided-grid: classes={classes} must lie in 0 to {data.num_classes - 1}.")
        labels = torch.tensor(self.classes or range(data.num_classes))
        ids = [str(number) for number in range(len(labels))]
        start = sample_noise((3, data.geometry.crop, data.geometry.crop), sources.seed, ids, None)
        pictures, beside, rows = [], [], []
        for guide, classifier in sources.track(self._arms(sources), "samples"):
            samples = sources.tiles(partial(self._sampled, sources, guide.plugin, classifier), start, labels)
            pictures.append(samples.numpy())
            beside.append("\n".join(filter(None, (classifier, guide.text))))
            answers = judge(samples).softmax(1)
            columns = labels, answers.gather(1, labels[:, None])[:, 0], answers.argmax(1)
            rows += [
                (guide.text, classifier, sources.seed, *row)
                for row in zip(ids, *(column.tolist() for column in columns), strict=True)
            ]
        drawn = picture_grid(
            np.stack(pictures), [str(label) for label in labels.tolist()], beside, title="class", width=self.width
        )
        caption = (
            f"Samples of each class, a row per guide; all rows start from the same noise. DDIM, {self.steps}, without "
            f"noise. Seed: {sources.seed}. Diffusion model: {sources.diffusion}. Numbers: the probability that "
            f"{self.judge} gives the class asked for, and the class that it finds most probable."
        )
        return Drawing(
            drawn, ("guide", "classifier", "seed", "sample", "class", "probability", "judged"), rows, caption
        )

    def _arms(self, sources: FigureSources) -> list[tuple[Configured, str]]:
        """Guides with the classifiers that they ask, "" for none, checked."""
        plugins.discover()
        arms = []
        for name in self.guides:
            texts = [name] if name == "none" else [f"{name}:scale={scale!r}" for scale in self.scales]
            models = sources.classifiers if plugins.guide[name].facts.get("classifier") else [""]
            arms += [(plugins.guide.configure(text), model) for model in models for text in texts]
        for guide, model in arms:
            guide.plugin.check(model, sources.classifier(model).network if model else None, sources.denoiser())
        return arms

    def _sampled(self, sources: FigureSources, guide: Any, classifier: str, start: Any, labels: Any) -> Any:
        """Images (B, 3, H, W) in [0, 1] from x_T."""
        from harness.diffusion.guided import trajectory
        from harness.types import Sampling

        network = sources.classifier(classifier).network if classifier else None
        settings = Sampling(steps=self.steps)
        *_, x = trajectory(sources.denoiser(), guide, network, start, labels, settings, lambda step: 0 * start)
        return ((x + 1) / 2).clamp(0, 1)
