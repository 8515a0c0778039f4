"""Write the sample table that mCE on ``digits-c`` divides by: the plain ResNet, all severities, the whole test set.

    python benchmarks/reference.py

To be run again, and the suite's version raised, whenever that checkpoint or a corruption changes.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness import plugins, weights
from harness.networks import TiledClassifier, Tiles

FILE = Path(__file__).resolve().parents[1] / "suites" / "digits-c.reference.parquet"
MODEL = "digits/resnet"


def main() -> None:
    """Predict, compare, write (id, condition, correct)."""
    plugins.discover()
    suite = plugins.suite.configure("digits-c:severity=1,2,3,4,5,extra=true")[1]
    classifier = TiledClassifier(weights.find_classifier(MODEL)[0], Tiles(100))
    tables = []
    for condition in suite.conditions():
        data = suite.open(condition, seed=0)
        batch = data.read(range(len(data.ids)))
        correct = (classifier(batch.images).argmax(1) == batch.labels).numpy()
        tables.append(pa.table({"id": list(batch.ids), "condition": [condition.name] * len(batch), "correct": correct}))
    pq.write_table(pa.concat_tables(tables), FILE, compression="zstd")
    print(f"{FILE}: {sum(map(len, tables))} rows, {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
