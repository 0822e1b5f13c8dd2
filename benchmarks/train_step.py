"""Print a Markdown table of `vocseg bench --train`: a training step against that of torchvision's reference script.

python benchmarks/train_step.py
"""

from __future__ import annotations

import argparse

from inference import bench, table

STEPS = (
    ("deeplabv3_resnet101", "4", "321"),
    ("deeplabv3plus:tu-tf_efficientnet_lite2", "8", "320"),
    ("lraspp_mobilenet_v3_large", "8", "320"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=[name for name, _, _ in STEPS])
    parser.add_argument("--rounds", default="5")
    arguments = parser.parse_args()
    results = [
        bench(name, "--train", "--batch-size", batch, "--crop", crop, "--rounds", arguments.rounds)
        for name, batch, crop in STEPS
        if name in arguments.models
    ]
    for values in results:
        values["model"] += ", " + values["task"].removeprefix("training step of ")
    print(table(results))
    print(f"\na training step: p50 in ms (peak MB); {arguments.rounds} alternating rounds on {results[0]['machine']}")


if __name__ == "__main__":
    main()
