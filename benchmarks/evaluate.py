"""Time an evaluation, preparation included, against a plain torchvision loop in float32 and against forward passes.

    python benchmarks/evaluate.py FOLDER_WITH_VOCdevkit --model deeplabv3_resnet101 --split val_2007

All have the same random weights. The forward passes are those of the evaluation, on images in memory, up to logits of
full size.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torchvision.transforms.functional import pil_to_tensor

from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.evaluation.evaluate import evaluate_split as evaluate
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model
from vocseg.utils.system import machine


@torch.inference_mode()
def plain(model: SegmentationModel, dataset: SplitDataset) -> None:
    """Evaluate as people write it: Pillow, float32, a loss, arg max, a confusion matrix by bincount."""
    model.eval()
    classes = len(model.info.classes)
    matrix, loss = torch.zeros(classes, classes, dtype=torch.int64), 0.0
    for name in dataset.names:
        image = pil_to_tensor(Image.open(dataset.folder.image(name)).convert("RGB"))
        mask = pil_to_tensor(Image.open(dataset.folder.mask(name))).long()
        logits = model(image[None])["out"]
        loss += float(cross_entropy(logits, mask, ignore_index=voc.VOID))
        valid = mask != voc.VOID
        matrix += torch.bincount(classes * mask[valid] + logits.argmax(1)[valid], minlength=classes**2).view(classes, classes)


def seconds(work: Callable[[], object]) -> float:
    """Time a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="deeplabv3_resnet101")
    parser.add_argument("--split", default="val_2007")
    parser.add_argument("--images", type=int, help="number of images; by default all")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rounds", type=int, default=1, help="alternating runs of evaluation and forward passes")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dataset = SplitDataset(VocFolder.find(arguments.data), arguments.split)
    model = create_model(arguments.model, dataset.classes, weights="none")
    dataset.names = dataset.names[: arguments.images]

    def prepare_and_evaluate() -> Segmenter:
        segmenter = Segmenter(model, engine=arguments.engine)
        evaluate(segmenter, dataset)
        return segmenter

    start = time.perf_counter()
    segmenter = prepare_and_evaluate()
    whole = time.perf_counter() - start
    reference = seconds(lambda: plain(model, dataset))
    images = [dataset.read(index).image for index in range(len(dataset))]
    passes, evaluations = [], []
    for _ in range(arguments.rounds):
        passes.append(seconds(lambda: [segmenter.logits(image) for image in images]))
        evaluations.append(seconds(lambda: evaluate(segmenter, dataset)))
    overhead = statistics.median(mine / forward for mine, forward in zip(evaluations, passes, strict=True)) - 1
    print(f"{arguments.model} on {len(dataset)} images of {arguments.split}, {machine()}")
    print(f"evaluation with preparation {whole:.1f} s, plain loop in float32 {reference:.1f} s: {reference / whole:.2f}x")
    print(f"after preparation: evaluation {min(evaluations):.1f} s, forward passes {min(passes):.1f} s: {100 * overhead:+.0f} %")


if __name__ == "__main__":
    main()
