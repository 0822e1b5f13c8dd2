"""A model a fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import vocseg
from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, OutputError, SettingError
from vocseg.evaluation.sample import fold_of
from vocseg.models import read_info

QUICK: dict[str, Any] = {"iterations": 1, "crop": 16, "batch_size": 2, "workers": 0}


def test_each_fold_is_held_out_by_one_model(synth: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in synth.rglob("*") if path.is_file()}
    models = vocseg.train_folds(synth, "two_layer_net", out=tmp_path / "out", folds=2, split="trainval", **QUICK)
    names = VocFolder.find(synth).ids("trainval")
    for fold, model in enumerate(models, 1):
        kept = [name for name in names if fold_of(name, 2) != fold]
        assert read_info(model).trained_on == f"data trainval-fold-{fold}-of-2 ({len(kept)} images, masks {voc.MASKS})"
        linked = VocFolder.find(tmp_path / "out" / "data" / "data")
        assert linked.ids(f"trainval-fold-{fold}-of-2") == kept
        assert sorted(kept + linked.ids(f"trainval-fold-{fold}-of-2-held-out")) == sorted(names)
    assert {path: path.read_bytes() for path in synth.rglob("*") if path.is_file()} == before
    with pytest.raises(OutputError, match="not an empty folder"):
        vocseg.train_folds(synth, "two_layer_net", out=tmp_path / "out", folds=2, split="trainval", **QUICK)


def test_wrong_use(synth: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="at least 2"):
        vocseg.train_folds(synth, out=tmp_path / "out", folds=1)
    with pytest.raises(SettingError, match="val_split cannot be set"):
        vocseg.train_folds(synth, out=tmp_path / "out", val_split="val")
    with pytest.raises(DataError, match="none of which is in fold"):
        vocseg.train_folds(synth, out=tmp_path / "out", folds=50)
    assert not (tmp_path / "out").exists()
