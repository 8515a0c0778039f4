"""A figure: sources to a drawing, with the numbers in it and a caption."""

from dataclasses import dataclass

from harness.metrics import intervals
from harness.plugins import figure
from harness.report.figures.panels import Curve, panels
from harness.types.figures import Drawing, FigureSources


@figure("my-name", classifiers=("digits/resnet", "digits/vit"))
@dataclass(frozen=True)
class MyName:
    """Accuracy on test images under Gaussian noise, by its standard deviation."""

    # Settings are fields: harness figure my-name:images=100. A field `dataset` takes --data, `suite` reads records.
    sigmas: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    images: int = 60
    dataset: str = "digits"

    def __call__(self, sources: FigureSources) -> Drawing:
        data = sources.dataset(self.dataset)
        batch = data.read(range(min(self.images, len(data.ids))))
        # Noise of a figure is keyed by --seed, a purpose and the images' ids.
        noise = sources.noise(batch.images.shape[1:], "my-name", batch.ids)
        rows, curves = [], []
        for name in sources.track(sources.classifiers, "classifiers"):  # the fact, or --model
            classifier = sources.classifier(name, data)
            points = []
            for sigma in self.sigmas:
                right = (classifier(batch.images + sigma * noise).argmax(1) == batch.labels).double().numpy()
                value, (low, high) = float(right.mean()), intervals.of_mean(right)
                rows.append((name, sigma, value, low, high, len(right)))
                points.append((sigma, 100 * value, 100 * low, 100 * high))
            curves.append(Curve(name, points))
        drawn = panels({"": curves}, "standard deviation of the noise", "accuracy (%)", top=102)
        caption = (
            f"Accuracy on {len(batch)} test images of {self.dataset} under Gaussian noise, which is not clipped. "
            f"Bands: 95 % intervals. Seed: {sources.seed}."
        )
        return Drawing(drawn, ("model", "sigma", "accuracy", "low", "high", "n"), rows, caption)
