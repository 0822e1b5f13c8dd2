from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.errors import ModelError
from vocseg.evaluation.evaluate import evaluate_split as evaluate
from vocseg.inference.segmenter import Segmenter
from vocseg.models import create_model, save_model
from vocseg.models.zoo.vocseg_s import NAME, TRAINED

RESULTS = Path(__file__).parents[3] / "docs" / "results.md"


@pytest.mark.real_voc
def test_the_tables_score_is_that_of_the_file(real_voc: Path) -> None:
    row = re.search(r"^\| vocseg-s \| val_2007 \| (\d+) \|.*\| ([\d.]+) \|$", RESULTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    dataset = SplitDataset(VocFolder.find(real_voc), "val_2007")
    if len(dataset) != int(row[1]):
        pytest.skip(f"the table is of {row[1]} images, there are {len(dataset)}")
    result = evaluate(Segmenter(), dataset, workers=1)
    assert 100 * result.scores.miou == pytest.approx(float(row[2]), abs=0.2)


def test_the_included_network_is_the_default() -> None:
    assert TRAINED.stat().st_size < 8e6
    segmenter = Segmenter(device="cpu")
    assert segmenter.info.architecture == "vocseg-s"
    assert segmenter.info.scores["val_dev"]["images"] == 381
    assert segmenter.info.trained_on
    assert segmenter(torch.zeros(3, 1, 1, dtype=torch.uint8)).mask.shape == (1, 1)


def test_the_published_network_is_the_base_and_changes_nothing_at_first(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = create_model("deeplabv3_mobilenet_v2").eval()
    save_model(tmp_path / "base.safetensors", base)
    model = create_model(NAME, weights=tmp_path / "base.safetensors").eval()
    image = torch.randint(0, 256, (1, 3, 70, 101), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(model(image)["out"], base(image)["out"], rtol=1e-4, atol=1e-4)


def test_a_file_without_a_part_of_the_decoder_is_refused(tmp_path: Path) -> None:
    state = create_model(NAME).network.state_dict()
    del state["decoder.join.0.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(ModelError, match=r"part\.pth does not fit vocseg-s: it has no decoder\.join\.0\.weight"):
        create_model(NAME, weights=tmp_path / "part.pth")


def test_other_classes_start_from_the_decoder(tmp_path: Path) -> None:
    trained, model = create_model(NAME), create_model(NAME, ["background", "road", "person"])
    ours, theirs = model.network.state_dict(), trained.network.state_dict()
    for layer in ("base.classifier.weight", "decoder.classifier.bias"):
        assert torch.equal(ours[layer][[0, 2]], theirs[layer][[0, 15]])
    assert all(torch.equal(ours[name], value) for name, value in theirs.items() if "classifier" not in name)
