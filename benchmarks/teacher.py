"""How right a teacher is about training crops: asked about the crops themselves, and about whole images before.

    python benchmarks/teacher.py FOLDER --split val_2007 --soft-labels soft_val --teacher deeplabv3_mnv2.safetensors

Images of a split with masks that the teacher has not learned from go through the transforms of training (scales of 0.5 to 2,
crops, mirror images); each cell of soft labels counts by the mask's pixel in its middle. The two are what `vocseg train
--teacher` learns from without and with `--soft-labels`.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from itertools import islice

import torch
from torch import Tensor

from vocseg import voc
from vocseg.metrics import ConfusionMatrix
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.features import Teacher
from vocseg.training.distillation.soft_labels import SOFT_CELL, SOFT_LABELS
from vocseg.training.distillation.teacher import load_teacher
from vocseg.training.losses import shown_cells
from vocseg.training.setup import prepare


def middles(masks: Tensor, soft: Tensor) -> Tensor:
    """The class in the middle of each cell of soft labels, void where nothing of the image is shown."""
    return masks[:, SOFT_CELL // 2 :: SOFT_CELL, SOFT_CELL // 2 :: SOFT_CELL].where(shown_cells(soft), voc.VOID)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", default="val_2007")
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--soft-labels", required=True, help="folder that the split's soft labels are kept in")
    parser.add_argument("--crop", type=int, nargs="+", default=[320, 416])
    parser.add_argument("--batches", type=int, default=60, help="of 16 crops")
    arguments = parser.parse_args()
    for crop in arguments.crop:
        job = prepare(
            TrainConfig(
                data=arguments.data, split=arguments.split, val_split=arguments.split, model="two_layer_net", crop=crop,
                color_jitter=0.4, batch_size=16, iterations=arguments.batches, workers=0, teacher=arguments.teacher,
                soft_labels=arguments.soft_labels,
            )
        )  # fmt: skip
        classes = job.train_set.classes
        teacher = Teacher(load_teacher(arguments.teacher, None, classes), job.precision)
        asked, kept = ConfusionMatrix(classes), ConfusionMatrix(classes)
        with closing(job.batches()) as batches:
            for batch in islice(batches, arguments.batches):
                truth = middles(batch.masks, batch.maps[SOFT_LABELS])
                for matrix, soft in ((asked, teacher(batch.images)[0]), (kept, batch.maps[SOFT_LABELS])):
                    matrix.update(soft.max(1).indices.to(torch.uint8), truth)
        for name, matrix in (("asked about the crops", asked), ("about whole images", kept)):
            scores = matrix.scores()
            print(f"crops of {crop}, {name}: mIoU {100 * scores.miou:.2f}, pixel accuracy {100 * scores.pixel_accuracy:.2f}")


if __name__ == "__main__":
    main()
