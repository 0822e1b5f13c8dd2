"""A fitted temperature against a grid of temperatures, and in model files."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch.nn.functional import cross_entropy

import vocseg
from vocseg.data.dataset import SplitDataset
from vocseg.errors import DataError, ModelError, OutputError
from vocseg.evaluation.table import evaluation_report
from vocseg.evaluation.temperature import LIMITS, PixelSample
from vocseg.models import read_info, save_model
from vocseg.models.checkpoint import read_model_file
from vocseg.ops.low_res_logits import LowResLogits


def test_it_has_the_smallest_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, sample = 6 * torch.randn(3, 4, 20, 30, generator=generator), PixelSample(3)
    masks = torch.distributions.Categorical(logits=logits.movedim(1, -1) / 2.5).sample().to(torch.uint8)
    masks[:, :3] = 255
    sample.add(["a", "b", "c"], LowResLogits(logits), masks)
    fit = sample.fit(before=1.0)

    def loss(temperature: float) -> float:
        return float(cross_entropy(logits.double() / temperature, masks.long(), ignore_index=255))

    assert fit.pixels == int((masks != 255).sum())  # all, of so few
    assert (fit.before, fit.after) == pytest.approx((loss(1), loss(fit.temperature)), rel=1e-9)
    assert fit.temperature == pytest.approx(2.5, rel=0.1)
    assert all(loss(fit.temperature) <= loss(fit.temperature * factor) for factor in (0.8, 0.999, 1.001, 1.25))


def test_the_sample_does_not_depend_on_order_or_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocseg.evaluation.temperature.PIXELS", 90)
    logits, masks = torch.randn(3, 4, 20, 30), torch.randint(0, 4, (3, 20, 30), dtype=torch.uint8)
    one, many = PixelSample(3), PixelSample(3)
    one.add(["a", "b", "c"], LowResLogits(logits), masks)
    for place in (2, 0, 1):
        many.add(["abc"[place]], LowResLogits(logits[place : place + 1]), masks[place : place + 1])
    assert one.fit().pixels == 90
    assert one.fit().temperature == pytest.approx(many.fit().temperature, rel=1e-9)


def test_limits() -> None:
    sure = torch.tensor([9.0, -9.0]).view(1, 2, 1, 1)
    for label, limit in ((0, LIMITS[0]), (1, LIMITS[1])):
        sample = PixelSample(1)
        sample.add(["a"], LowResLogits(sure), torch.full((1, 1, 1), label, dtype=torch.uint8))
        assert sample.fit().temperature == pytest.approx(limit)
    empty = PixelSample(1)
    empty.add(["a"], LowResLogits(sure), torch.full((1, 1, 1), 255, dtype=torch.uint8))
    with pytest.raises(DataError, match="all pixels are void"):
        empty.fit()


def test_from_a_split_to_probabilities(val_set: SplitDataset, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    torch.manual_seed(1)
    model = vocseg.create_model("simple_conv_net", val_set.classes)
    with torch.no_grad():
        model.network.affine2.weight.mul_(30)  # far too sure
    save_model(tmp_path / "m.safetensors", model, half=True)
    data, target = val_set.folder.root, tmp_path / "new" / "t.safetensors"
    command = ("evaluate", tmp_path / "m.safetensors", "--data", data, "--device", "cpu", "--json", tmp_path / "s.json")
    code, out, _ = run(*command, "--fit-temperature", target)
    assert code == 0
    assert "temperature " in out
    fit = json.loads((tmp_path / "s.json").read_text())["temperature"]
    assert fit["after"] < fit["before"]
    assert read_info(target).temperature == fit["temperature"] > 2
    assert read_info(tmp_path / "m.safetensors").temperature == 1
    for one, other in zip(*(read_model_file(path)[1].values() for path in (tmp_path / "m.safetensors", target)), strict=True):
        assert torch.equal(one, other)
    before, after = (vocseg.evaluate(path, data, device="cpu") for path in (tmp_path / "m.safetensors", target))
    assert after.scores == before.scores
    assert before.calibration is not None
    assert after.calibration is not None
    assert after.calibration.ece < before.calibration.ece  # type: ignore[operator]
    assert after.loss == pytest.approx(fit["after"], rel=1e-5)
    image = val_set[0].image
    plain, cooled = (vocseg.Segmenter(path, device="cpu", exact=True)(image) for path in (tmp_path / "m.safetensors", target))
    assert torch.equal(plain.mask, cooled.mask)
    want = (plain.probabilities().double().log() / fit["temperature"]).softmax(0)
    torch.testing.assert_close(cooled.probabilities().double(), want, rtol=1e-4, atol=1e-6)
    code, _, err = run(*command, "--fit-temperature", target)
    assert code == 2 or code == 1
    assert "it exists" in err


def test_a_network_and_what_cannot_be_fitted(val_set: SplitDataset, tmp_path: Path) -> None:
    model = vocseg.create_model("two_layer_net", val_set.classes, "none")
    result = vocseg.evaluate(model.network, val_set, device="cpu", fit_temperature=tmp_path / "t.safetensors")
    assert result.temperature is not None
    assert read_info(tmp_path / "t.safetensors").temperature == result.temperature.temperature
    with pytest.raises(ModelError, match="Segmenter"):
        vocseg.evaluate(vocseg.Segmenter(model, device="cpu"), val_set, fit_temperature=tmp_path / "u.safetensors")
    with pytest.raises(OutputError, match="ends in"):
        vocseg.evaluate(model, val_set, fit_temperature=tmp_path / "u.pth")
    for wrong in (0, "2", float("nan"), True):
        with pytest.raises(ModelError, match="temperature"):
            vocseg.ModelInfo("net", ("a", "b"), temperature=wrong)  # type: ignore[arg-type]


def test_the_report_has_a_line_for_each_score(val_set: SplitDataset, tmp_path: Path) -> None:
    model, text = vocseg.create_model("two_layer_net", val_set.classes, "none"), io.StringIO()
    result = vocseg.evaluate(model, val_set, device="cpu", fit_temperature=tmp_path / "t.safetensors")
    Console(file=text, width=200).print(evaluation_report(result, "t"))
    for line in (
        r"boundary IoU \S+ %( \(.*\))?, band of 1 pixel, 2 % of the diagonal",
        r"mIoU within 1, 2, 4, 8, 16, 32 pixels of a boundary: (\S+ +){6}%",
        r"recall of objects by share of the image: \S+( %)? \(0 to 0.05 %\), .*\(above 20 %\)",
        r"calibration error \(ECE\) \S+ %, \S+ % at boundaries, \S+( %)? inside",
        r"temperature \S+ fitted on [\d,]+ pixels: loss \S+ before, \S+ after",
    ):
        assert re.search(line, text.getvalue()), (line, text.getvalue())
