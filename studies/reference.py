"""Write the error rates that mCE on ``digits-c`` divides by: the plain ResNet's, all severities, the whole test set.

    python studies/reference.py

They are constants of the benchmark, as AlexNet's are for ImageNet-C. To be run again, and the suite's version raised,
whenever that checkpoint or a corruption changes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from harness import plugins
from harness.models.lookup import find_classifier
from harness.models.tiles import TiledClassifier, Tiles

FILE = Path(__file__).resolve().parents[1] / "suites" / "digits-c.reference.json"
MODEL = "digits/resnet"


def main() -> None:
    """Predict, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    plugins.discover()
    suite = plugins.suite.configure("digits-c:severity=1,2,3,4,5,extra=true").plugin
    network, weights = find_classifier(MODEL)
    classifier = TiledClassifier(network, Tiles(100))
    error = {}
    for condition in suite.conditions():
        data = suite.open(condition, seed=0)
        batch = data.read(range(len(data.ids)))
        error[condition.name] = float((classifier(batch.images).argmax(1) != batch.labels).double().mean())
    values = {"model": MODEL, "sha256": weights.sha256, "images": len(batch), "seed": 0, "error": error}
    FILE.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
