from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import CLASSES, write_synthetic
from vocseg.errors import OutputError, SettingError


def test_exact_voc_layout(tmp_path: Path) -> None:
    shown = write_synthetic(tmp_path / "d", train=12, val=5, size=(48, 64), seed=1)
    folder = VocFolder.find(tmp_path / "d")
    assert folder.classes == CLASSES
    assert (len(folder.ids("train")), len(folder.ids("val")), len(folder.ids("trainval"))) == (12, 5, 17)
    assert not set(folder.ids("train")) & set(folder.ids("val"))
    assert shown["background"] == 17
    assert all(shown[name] for name in CLASSES)
    dataset = SplitDataset(folder, "trainval")
    for index in range(len(dataset)):
        mask = dataset[index].mask  # reading checks sizes and labels
        labels = set(mask.unique().tolist())
        assert voc.VOID in labels
        # void lies on every outline: no two classes touch
        for one, two in ((mask[:, :-1], mask[:, 1:]), (mask[:-1], mask[1:])):
            assert ((one == two) | (one == voc.VOID) | (two == voc.VOID)).all()
    with Image.open(folder.mask("synth_000000")) as image:
        assert image.mode == "P"


def test_seeded(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_synthetic(tmp_path / name, train=2, val=1, size=(32, 32), seed=seed)
    a, b, c = (np.array(Image.open(tmp_path / name / voc.IMAGES / "synth_000001.jpg")) for name in "abc")
    assert np.array_equal(a, b)
    assert a.shape != c.shape or not np.array_equal(a, c)


def test_bad_use(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="is not an empty folder"):
        write_synthetic(tmp_path)
    with pytest.raises(SettingError, match="at least one train and one val"):
        write_synthetic(tmp_path / "x", val=0)
    with pytest.raises(SettingError, match="8x100 is too small"):
        write_synthetic(tmp_path / "x", size=(8, 100))
    assert not (tmp_path / "x").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(rng: np.random.Generator, size: tuple[int, int]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("vocseg.data.synthetic.draw_sample", draw)
        with pytest.raises(KeyboardInterrupt):
            write_synthetic(tmp_path / "data", train=1, val=1, size=(16, 16))
    assert not list(tmp_path.iterdir())
    write_synthetic(tmp_path / "data", train=1, val=1, size=(16, 16))
