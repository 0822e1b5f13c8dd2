"""Find seeded label errors: average precision and memory of `find_label_errors`, beside cleanlab's softmin.

    pip install --target cleanlab cleanlab
    python benchmarks/label_errors.py ../shared/voc --split val_dev --cleanlab cleanlab

In a tenth of the images, one labeled object is dropped, swapped for another class, or shifted. Both methods rank the images by
the same network's probabilities. cleanlab has no void: these pixels get the predicted class as label, the best that can be
done for it. It takes all images as one array; smaller ones are padded with certain background.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FAULTS = ("dropped", "swapped", "shifted")
SIDE = 500
"""Sides of cleanlab's array: no image of VOC is larger."""


def damaged(mask: np.ndarray, fault: str, random: np.random.Generator, classes: int) -> np.ndarray | None:
    """Return a mask with a fault in one object of at least a hundredth of the image; None if it shows none."""
    from scipy import ndimage

    objects = []
    for label in np.unique(mask[(mask > 0) & (mask < 255)]).tolist():
        numbered, count = ndimage.label(mask == label)
        objects += [(label, numbered == number) for number in range(1, count + 1)]
    objects = [(label, pixels) for label, pixels in objects if pixels.sum() >= mask.size / 100]
    if not objects:
        return None
    label, pixels = objects[random.integers(len(objects))]
    changed = mask.copy()
    if fault == "swapped":
        changed[pixels] = random.choice([other for other in range(1, classes) if other != label])
        return changed
    changed[pixels] = 0
    if fault == "shifted":  # by a tenth to a fifth of the image's sides
        steps = [int(side * random.uniform(0.1, 0.2) * random.choice([-1, 1])) for side in mask.shape]
        y, x = (places + step for places, step in zip(np.nonzero(pixels), steps, strict=True))
        inside = (y >= 0) & (y < mask.shape[0]) & (x >= 0) & (x < mask.shape[1])
        changed[y[inside], x[inside]] = label
    return changed


def seeded(source: Any, names: list[str], target: Path, seed: int, share: float) -> dict[str, str]:
    """Write a data set with faults beside links to the images; return the fault of each faulty image."""
    import torch

    from vocseg import draw, voc
    from vocseg.data.image_io import read_mask

    random = np.random.default_rng(seed)
    (target / voc.MASKS).mkdir(parents=True)
    (target / voc.SPLITS).mkdir(parents=True)
    (target / voc.IMAGES).symlink_to((source.root / voc.IMAGES).resolve())
    (target / voc.SPLITS / "all.txt").write_text("\n".join(names))
    found: dict[str, str] = {}
    for place in random.permutation(len(names)).tolist():
        name, fault = names[place], FAULTS[len(found) % len(FAULTS)]
        mask = read_mask(source.mask(name)).numpy()
        changed = damaged(mask, fault, random, len(source.classes)) if len(found) < round(share * len(names)) else None
        if changed is not None:
            found[name] = fault
        draw.save_mask(torch.from_numpy(mask if changed is None else changed), target / voc.MASKS / f"{name}.png")
    return found


def average_precision(ranking: list[str], faulty: set[str]) -> float:
    """Return the mean, over the faulty images, of the share of faulty ones among those ranked up to each."""
    hits = [name in faulty for name in ranking]
    return float(np.mean([sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]))


def own(data: Path) -> dict[str, Any]:
    import vocseg

    result = vocseg.find_label_errors(data, "vocseg-s", "all", device="cpu")
    by_softmin = sorted(result.images, key=lambda image: (image.softmin, image.id))
    return {"region": [image.id for image in result.images], "softmin": [image.id for image in by_softmin]}


def predict(data: Path) -> dict[str, Any]:
    """Run the network only: what both methods need."""
    import vocseg
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.layout import VocFolder

    dataset, segmenter = SplitDataset(VocFolder.find(data), "all"), vocseg.Segmenter("vocseg-s", device="cpu")
    for place in range(len(dataset)):
        segmenter.low_res_logits(dataset[place].image[None], total=len(dataset)).classes()
    return {}


def arrays(data: Path, folder: Path) -> None:
    """Write the arrays that cleanlab takes; the probabilities only once, which are the same for all seeds."""
    import vocseg
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.layout import VocFolder

    dataset = SplitDataset(VocFolder.find(data), "all")
    if not (folder / "predicted.npy").exists():
        segmenter = vocseg.Segmenter("vocseg-s", device="cpu")
        shape = (len(dataset), len(dataset.classes), SIDE, SIDE)
        probabilities = np.lib.format.open_memmap(folder / "probabilities.npy", "w+", np.float32, shape)
        predicted = np.zeros((len(dataset), SIDE, SIDE), dtype=np.uint8)
        for place in range(len(dataset)):
            values = segmenter.low_res_logits(dataset[place].image[None], total=len(dataset)).full()[0].softmax(0).numpy()
            height, width = values.shape[1:]
            probabilities[place, 0] = 1
            probabilities[place, :, :height, :width] = values
            predicted[place, :height, :width] = values.argmax(0)
        np.save(folder / "predicted.npy", predicted)
    labels = np.load(folder / "predicted.npy").astype(np.int64)
    masks = [dataset[place].mask.numpy() for place in range(len(dataset))]
    for own, mask in zip(labels, masks, strict=True):
        own = own[: mask.shape[0], : mask.shape[1]]
        own[mask != 255] = mask[mask != 255]
    np.save(folder / "labels.npy", labels)
    (folder / "about.json").write_text(json.dumps({"names": dataset.names, "sizes": [mask.shape for mask in masks]}))


def cleanlab(folder: Path) -> dict[str, Any]:
    """Rank by cleanlab: all images as one array, its documented use; and one by one at their own size, without padding."""
    from cleanlab.segmentation.rank import get_label_quality_scores

    labels, probabilities = np.load(folder / "labels.npy"), np.load(folder / "probabilities.npy")
    about = json.loads((folder / "about.json").read_text())
    names, sizes = about["names"], about["sizes"]
    scores = get_label_quality_scores(labels, probabilities, verbose=False)[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    single = [
        get_label_quality_scores(one[None, :height, :width], values[None, :, :height, :width], verbose=False)[0][0]
        for one, values, (height, width) in zip(labels, probabilities, sizes, strict=True)
    ]
    rankings = {
        key: [names[place] for place in np.argsort(found, kind="stable")] for key, found in (("all", scores), ("single", single))
    }
    return rankings | {"peak": peak, "bytes": labels.nbytes + probabilities.nbytes}


def child(*arguments: object) -> dict[str, Any]:
    """Run this script in a process of its own; return what it prints, and its peak memory in kB."""
    done = subprocess.run([sys.executable, __file__, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val_dev")
    parser.add_argument("--share", type=float, default=0.1, help="share of faulty images")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cleanlab", type=Path, help="folder that cleanlab is installed in")
    parser.add_argument("--images", type=int, help="only the first images of the split")
    parser.add_argument("--step", choices=["own", "predict", "arrays", "cleanlab"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cleanlab:
        sys.path.append(str(given.cleanlab))  # last: its numpy is not used
    if given.step:
        run = {"own": own, "predict": predict, "cleanlab": cleanlab}.get(given.step)
        values = run(given.data) if run else arrays(given.data, given.folder) or {}
        print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss} | values))
        return
    from vocseg.data.layout import VocFolder

    source = VocFolder.find(given.data)
    names = source.ids(given.split)[: given.images]
    print(f"{len(names)} images of {given.split}, {given.share:.0%} with a fault\n")
    print("| seed | faulty | vocseg | vocseg, softmin | cleanlab | cleanlab, image by image |\n|---|---|---|---|---|---|")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(given.seeds):
            data = Path(temporary) / str(seed) / "VOC2012"
            faulty = set(seeded(source, names, data, seed, given.share))
            ours = child(data, "--step", "own")
            values = [average_precision(ours[key], faulty) for key in ("region", "softmin")]
            if given.cleanlab:
                child(data, "--step", "arrays", "--folder", temporary)
                theirs = child(temporary, "--step", "cleanlab", "--cleanlab", given.cleanlab)
                values += [average_precision(theirs[key], faulty) for key in ("all", "single")]
            rows.append(values)
            print(f"| {seed} | {len(faulty)} | {' | '.join(f'{value:.4f}' for value in values)} |", flush=True)
        base = child(data, "--step", "predict")["peak"]
    print(f"| mean | | {' | '.join(f'{value:.4f}' for value in np.mean(rows, 0))} |\n")
    if given.cleanlab:
        own_peak, their_peak = ours["peak"] / 1e3, theirs["peak"] / 1e3
        print(f"vocseg: peak {own_peak:,.0f} MB, {own_peak - base / 1e3:,.0f} MB more than prediction alone")
        print(f"cleanlab: peak {their_peak:,.0f} MB without prediction; its arrays are {theirs['bytes'] / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
