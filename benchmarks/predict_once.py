"""Time one image from the start of the process to the mask on disk, alternating with plain torchvision.

    python benchmarks/predict_once.py photo.jpg
    python benchmarks/predict_once.py photo.jpg --model lraspp_mobilenet_v3_large --rounds 9

Both load the same random weights from a file.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from vocseg.models import create_model, save_model
from vocseg.utils.system import machine

PLAIN = """
import sys, torch, torchvision
from PIL import Image
name, weights, image, out = sys.argv[1:]
network = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21, **
                                       ({} if name.startswith("lraspp") else {"aux_loss": True}))
network.load_state_dict(torch.load(weights))
network.eval()
transform = torchvision.transforms.Compose([
    torchvision.transforms.ToTensor(),
    torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
])
with torch.inference_mode():
    logits = network(transform(Image.open(image).convert("RGB"))[None])["out"]
Image.fromarray(logits.argmax(1)[0].to(torch.uint8).numpy()).save(out)
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("--model", default="deeplabv3_resnet101", help="a torchvision network")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = create_model(arguments.model, weights="none")
        save_model(folder / "model.safetensors", model)
        torch.save(model.network.state_dict(), folder / "model.pth")
        ours = [sys.executable, "-m", "vocseg", "predict", arguments.image, "--model", str(folder / "model.safetensors"),
                "--out", str(folder / "out"), "--no-overlay"]  # fmt: skip
        plain = [
            sys.executable,
            "-c",
            PLAIN,
            arguments.model,
            str(folder / "model.pth"),
            arguments.image,
            str(folder / "mask.png"),
        ]
        first = seconds(ours), seconds(plain)
        rounds = [(seconds(ours), seconds(plain)) for _ in range(arguments.rounds)]
    print(machine())
    print(f"{arguments.model}: first run: vocseg {first[0]:.2f} s, plain torchvision {first[1]:.2f} s")
    mine, theirs = (statistics.median(values) for values in zip(*rounds, strict=True))
    ratio = statistics.median(other / own for own, other in rounds)
    print(f"medians of {arguments.rounds} rounds: vocseg {mine:.2f} s, plain torchvision {theirs:.2f} s, {ratio:.2f}x")


if __name__ == "__main__":
    main()
