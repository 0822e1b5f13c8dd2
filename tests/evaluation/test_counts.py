"""Counts of an image against plain implementations on binary masks, and against torchmetrics."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchmetrics.functional.classification import multiclass_calibration_error

import vocseg
from vocseg.data.dataset import SplitDataset
from vocseg.errors import DataError, InputError
from vocseg.evaluation.boundary import BoundaryScores, size_scores, trimap_scores
from vocseg.evaluation.calibration import Calibration
from vocseg.evaluation.counts import AT_BOUNDARY, DISTANCES, SHARES, band_width, count_image, shapes
from vocseg.evaluation.record import CountedImage, Record
from vocseg.evaluation.result import Evaluation
from vocseg.metrics import confusion_matrix

CLASSES = ("background", "cat", "dog")
Case = tuple[np.ndarray, np.ndarray]


def case(seed: int, size: int = 60) -> Case:
    """Smooth label maps, the prediction like the truth; the truth has void."""
    random = np.random.default_rng(seed)
    height, width = random.integers(1, size, 2)
    noise = [ndimage.gaussian_filter(random.normal(size=(4, height, width)), (0, 3, 3)) for _ in range(2)]
    truth, prediction = noise[0].argmax(0), (noise[0] + 0.4 * noise[1])[:3].argmax(0)
    truth[truth == 3] = 255
    return truth.astype(np.uint8), prediction.astype(np.uint8)


def counted(cases: list[Case], confidences: list[np.ndarray] | None = None) -> dict[str, np.ndarray]:
    rows = [
        count_image(
            torch.from_numpy(truth), torch.from_numpy(prediction),
            None if confidences is None else torch.from_numpy(confidences[place]), len(CLASSES),
        )[1]
        for place, (truth, prediction) in enumerate(cases)
    ]  # fmt: skip
    for row in rows:
        assert all(row[name].shape == shape for name, shape in shapes(len(CLASSES)).items() if name in row)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def band(mask: np.ndarray, distance: int) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


@given(st.integers(0, 9999), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_boundary_iou_of_binary_masks(seed: int, images: int) -> None:
    cases = [case(seed * 10 + place) for place in range(images)]
    counts = counted(cases)
    scores = BoundaryScores.of(counts["boundary"], counts["boundary_width"], CLASSES)
    widths = [max(1, round(0.02 * float(np.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2)))) for truth, _ in cases]
    assert scores.width == (min(widths), max(widths))
    values = []
    for label, name in enumerate(CLASSES):
        shared = union = 0
        for (truth, prediction), width in zip(cases, widths, strict=True):
            own, other = (band(labels == label, width) & (truth != 255) for labels in (truth, prediction))
            shared, union = shared + int((own & other).sum()), union + int((own | other).sum())
        assert scores.per_class[name] == (pytest.approx(shared / union, abs=1e-12) if union else None)
        values += [shared / union] if union else []
    assert scores.miou == (pytest.approx(np.mean(values), abs=1e-12) if values else None)


@given(st.integers(0, 9999))
@settings(max_examples=20, deadline=None)
def test_trimap_is_the_miou_of_the_pixels_near_a_boundary(seed: int) -> None:
    truth, prediction = case(seed)
    distance = np.full(truth.shape, np.inf)
    for label in np.unique(truth):
        if (mask := truth == label).sum() < mask.size:
            distance[mask] = ndimage.distance_transform_cdt(mask, "chessboard")[mask]
    got = trimap_scores(counted([(truth, prediction)])["trimap"])
    assert list(got) == list(DISTANCES)
    for step, value in got.items():
        near = torch.from_numpy(np.where(distance <= step, truth, 255).astype(np.uint8))
        matrix = vocseg.ConfusionMatrix(CLASSES)
        matrix.update(torch.from_numpy(prediction), near)
        want = matrix.compute().miou
        assert value == (want if want is None else pytest.approx(want, abs=1e-12))


def plain_sizes(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Objects, found, pixels, hits, unions by share, component by component."""
    table, square = np.zeros((len(SHARES) - 1, 5), dtype=int), np.ones((3, 3))
    for label in (1, 2):
        parts, number = ndimage.label(truth == label, square)
        guesses, _ = ndimage.label(prediction == label, square)
        for part in range(1, number + 1):
            own = parts == part
            touched = np.isin(guesses, np.unique(guesses[own & (guesses > 0)])) & (guesses > 0)
            union = own | (touched & (truth != 255) & (truth != label))
            hits = int((own & touched).sum())
            row = [1, hits / union.sum() >= 0.5, own.sum(), hits, union.sum()]
            table[sum(own.mean() >= limit for limit in SHARES[1:-1])] += np.array(row, dtype=int)
    return table


@given(st.integers(0, 9999), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_sizes_are_those_of_components(seed: int, images: int) -> None:
    cases = [case(seed * 10 + place) for place in range(images)]
    want = sum(plain_sizes(*one) for one in cases)
    counts = counted(cases)["sizes"]
    assert np.array_equal(counts.sum(0)[:, 1:].sum(1), want)
    rows = size_scores(counts, CLASSES)
    assert [(row.low, row.high) for row in rows] == list(pairwise(SHARES))
    for row, (number, found, pixels, hits, unions) in zip(rows, want.tolist(), strict=True):
        assert row.objects == number
        got = (row.found, row.recall, row.iou)
        assert got == (pytest.approx((found / number, hits / pixels, hits / unions)) if number else (None, None, None))


def test_calibration_error_is_that_of_torchmetrics() -> None:
    random = np.random.default_rng(0)
    truths = [case(seed, 30)[0].repeat(4, 0).repeat(4, 1) for seed in range(6)]
    chances = [random.random((len(CLASSES), *truth.shape)).astype(np.float32) ** 3 for truth in truths]
    chances = [part / part.sum(0) for part in chances]
    cases = [(truth, part.argmax(0).astype(np.uint8)) for truth, part in zip(truths, chances, strict=True)]
    result = Calibration.of(counted(cases, [part.max(0) for part in chances])["calibration"], CLASSES)
    table = torch.from_numpy(np.concatenate([part.reshape(len(CLASSES), -1).T for part in chances]))
    truth, predicted = (np.concatenate([one[place].ravel() for one in cases]) for place in (0, 1))

    def error(chosen: np.ndarray) -> float:
        chosen = chosen & (truth != 255)
        target = torch.from_numpy(truth[chosen].astype(np.int64))
        return float(multiclass_calibration_error(table[chosen], target, len(CLASSES), 15, "l1"))

    everywhere = np.ones(len(truth), dtype=bool)
    assert result.ece == pytest.approx(error(everywhere), abs=1e-4)
    for label, name in enumerate(CLASSES):
        assert result.per_class[name] == pytest.approx(error(predicted == label), abs=1e-4)
    near = []
    for labels in truths:
        distance = np.full(labels.shape, np.inf)
        for label in np.unique(labels):
            distance[labels == label] = ndimage.distance_transform_cdt(labels == label, "chessboard")[labels == label]
        near.append((distance <= AT_BOUNDARY).ravel())
    assert result.boundary == pytest.approx(error(np.concatenate(near)), abs=1e-4)
    assert result.inside == pytest.approx(error(~np.concatenate(near)), abs=1e-4)
    assert sum(row.pixels for row in result.bins) == int((truth != 255).sum())
    assert all(row.low - 1e-5 <= row.confidence <= row.high + 1e-5 for row in result.bins if row.confidence is not None)


def test_nothing_to_count() -> None:
    void = np.full((5, 7), 255, dtype=np.uint8)
    for truth in (void, np.zeros((0, 7), dtype=np.uint8)):
        record = recorded([(truth, np.zeros_like(truth))], with_confidence=True)
        result = Evaluation.from_record(record, "val", {})
        assert result.boundary is not None
        assert result.calibration is not None
        assert (result.boundary.miou, result.calibration.ece, result.calibration.bins[0].accuracy) == (None, None, None)
        assert set(result.trimap.values()) == {None}
        assert [row.objects for row in result.sizes] == [0] * 5
        assert "<svg" in result.calibration.diagram()


@given(st.integers(0, 9999), st.sampled_from([3, 60]))
@settings(max_examples=20, deadline=None)
def test_the_matrix_is_the_confusion_matrix(seed: int, classes: int) -> None:
    truth, prediction = (torch.from_numpy(labels) for labels in case(seed))
    matrix, _ = count_image(truth, prediction, None, classes)
    assert np.array_equal(matrix, confusion_matrix(prediction, truth, classes).numpy())
    if (truth == 2).any():
        with pytest.raises(InputError, match="true value 2 is outside the classes"):
            count_image(truth, prediction.clamp(max=1), None, 2)


def test_widths() -> None:
    assert [band_width(*size) for size in ((375, 500), (10, 10), (1000, 1000))] == [12, 1, 28]


def recorded(cases: list[Case], with_confidence: bool) -> Record:
    rows = []
    for place, (truth, prediction) in enumerate(cases):
        confidence = torch.rand(truth.shape, generator=torch.Generator().manual_seed(place)) if with_confidence else None
        labels, guess = torch.from_numpy(truth), torch.from_numpy(prediction)
        rows.append(CountedImage(f"{place:03}", "", 0.0, *count_image(labels, guess, confidence, len(CLASSES))))
    return Record.of(CLASSES, rows)


@given(st.integers(0, 999), st.randoms())
@settings(max_examples=10, deadline=None)
def test_shards_and_files_give_the_same_bits(tmp_path_factory: pytest.TempPathFactory, seed: int, random: object) -> None:
    whole = recorded([case(seed * 10 + place, 30) for place in range(5)], with_confidence=True)
    places = list(range(5))
    random.shuffle(places)  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("shard")
    for part, chosen in (("a", places[:2]), ("b", places[2:])):
        Evaluation.from_record(whole.select(chosen), "val", {}).save(folder / part)
    merged = Evaluation.load(folder / "b").merge(Evaluation.load(folder / "a"))
    assert merged.to_dict() == Evaluation.from_record(whole, "val", {}).to_dict()
    assert merged.record is not None
    for name, values in whole.details.items():
        assert np.array_equal(merged.record.details[name], values)
    alone = merged.subset(["003"])
    assert alone.to_dict() == Evaluation.from_record(whole.select([3]), "val", {}).to_dict()


def test_without_probabilities_there_is_no_calibration() -> None:
    cases = [case(place) for place in range(3)]
    both = [Evaluation.from_record(recorded(cases, chances), "val", {}) for chances in (True, False)]
    assert both[1].calibration is None
    values = [result.to_dict() for result in both]
    assert values[1]["calibration"] is None
    assert all(values[0][name] == values[1][name] for name in ("boundary", "trimap", "sizes"))
    renamed = Record(CLASSES, ("x", "y", "z"), ("", "", ""), *(getattr(both[1].record, n) for n in ("matrices", "loss", "details")))
    with pytest.raises(InputError, match="only some have counts of calibration; make all by evaluate, or by score"):
        both[0].merge(Evaluation.from_record(renamed, "val", {}))


def test_results_of_before_and_damaged_ones(tmp_path: Path) -> None:
    whole = recorded([case(place) for place in range(3)], with_confidence=True)
    bare = Record(whole.classes, whole.ids, whole.truth, whole.matrices, whole.loss)
    Evaluation.from_record(bare, "val", {}).save(tmp_path)
    result = Evaluation.load(tmp_path)
    assert (result.boundary, result.trimap, result.sizes, result.calibration) == (None, {}, (), None)
    for damage in (whole.details["boundary"][:2], whole.details["boundary"] - 10**6, whole.details["boundary"] / 2):
        Record(*(getattr(whole, name) for name in ("classes", "ids", "truth", "matrices", "loss")), {"boundary": damage}).save(
            tmp_path
        )
        with pytest.raises(DataError, match="damaged: boundary"):
            Evaluation.load(tmp_path)


def test_evaluate_and_score_count_the_same(val_set: SplitDataset, tmp_path: Path) -> None:
    model = vocseg.create_model("two_layer_net", val_set.classes, "none")
    made = vocseg.evaluate(model, val_set, device="cpu", out=tmp_path / "a")
    scored = vocseg.score(tmp_path / "a/masks", val_set)
    assert made.boundary == scored.boundary
    assert (made.trimap, made.sizes, scored.calibration) == (scored.trimap, scored.sizes, None)
    assert made.calibration is not None
    assert (tmp_path / "a/reliability.svg").read_text() == made.calibration.diagram()
    assert vocseg.evaluate(model, val_set, device="cpu", batch_size=3).to_dict()["calibration"] == made.calibration.to_dict()


@pytest.mark.gpu
def test_counts_on_a_gpu() -> None:
    truth, prediction = (torch.from_numpy(labels) for labels in case(1))
    confidence = torch.rand(truth.shape)
    want = count_image(truth, prediction, confidence, len(CLASSES))[1]
    got = count_image(truth.cuda(), prediction.cuda(), confidence.cuda(), len(CLASSES))[1]
    assert all(np.array_equal(values, got[name]) for name, values in want.items())
