"""Print a Markdown table of `vocseg bench` for several networks, against the usual ways to run them.

pip install openvino onnx onnxscript onnxruntime
python benchmarks/inference.py
python benchmarks/inference.py --models lraspp_mobilenet_v3_large --against torchvision,openvino --rounds 20
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

MODELS = (
    "lraspp_mobilenet_v3_large",
    "deeplabv3_mobilenet_v3_large",
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "unet:resnet34",
    "deeplabv3plus:tu-tf_efficientnet_lite2",
)


def bench(*arguments: str) -> dict[str, Any]:
    """Run `vocseg bench` and return its JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        command = [sys.executable, "-m", "vocseg", "bench", *arguments, "--json", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return dict(json.loads(path.read_text(encoding="utf-8")))


def table(results: list[dict[str, Any]]) -> str:
    """Make a row per network and a column per case: p50 in ms and (peak memory in MB), then the ratios."""
    names = list(dict.fromkeys(row["name"] for values in results for row in values["results"]))
    peers = list(dict.fromkeys(peer for values in results for peer in values["ratios"]))
    lines = [["model", *names, *(f"against {peer}" for peer in peers)]]
    lines.append(["---", *("---:" for _ in lines[0][1:])])
    for values in results:
        rows = {row["name"]: row for row in values["results"]}
        cells = [_cell(rows.get(name)) for name in names]
        ratios = [f"{values['ratios'][peer]:.2f}x" if peer in values["ratios"] else "" for peer in peers]
        lines.append([values["model"], *cells, *ratios])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['p50_ms']:.0f}" + ("" if row["peak_mb"] is None else f" ({row['peak_mb']})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--against", default="torchvision,openvino,onnxruntime,compile")
    parser.add_argument("--size", default="375x500")
    parser.add_argument("--rounds", default="15")
    parser.add_argument("--no-memory", action="store_true")
    arguments = parser.parse_args()
    options = ["--against", arguments.against, "--size", arguments.size, "--rounds", arguments.rounds]
    options += ["--no-memory"] if arguments.no_memory else []
    results = [bench(model, *options) for model in arguments.models]
    print(table(results))
    print(f"\none {arguments.size} image: p50 in ms (peak MB); {arguments.rounds} alternating rounds on {results[0]['machine']}")


if __name__ == "__main__":
    main()
