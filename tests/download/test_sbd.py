"""SBD made by scipy's own writer; the lengths of the lists are those of the made-up data."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from vocseg import voc
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import write_synthetic
from vocseg.download import sbd as trainaug
from vocseg.errors import DataError

# Names of write_synthetic: synth_000000 to 03 train, 04 and 05 val; 06 to 08 are images that only SBD has masks of.
SBD_TRAIN = ["synth_000000", "synth_000004", "synth_000006", "synth_000008"]
SBD_VAL = ["synth_000005", "synth_000007"]


def mat(mask: np.ndarray) -> bytes:
    """A file like SBD's ``cls/*.mat``."""
    boundaries = np.empty((20, 1), dtype=object)
    for label in range(20):
        boundaries[label, 0] = csc_matrix(mask == label + 1)
    file = io.BytesIO()
    present = np.unique(mask[mask > 0])[:, None]
    savemat(file, {"GTcls": {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}}, do_compression=True)
    return file.getvalue()


def sbd_mask(name: str, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, dtype=np.uint8)
    mask[3:20, 5:30] = int(name[-1]) + 10
    return mask


def write_sbd(path: Path, folder: Path, masks: dict[str, bytes] | None = None, **lists: list[str]) -> Path:
    lists = {"train": SBD_TRAIN, "val": SBD_VAL} | lists
    files = {f"{name}.txt": "\n".join(ids).encode() for name, ids in lists.items()}
    for name in SBD_TRAIN + SBD_VAL:
        width, height = Image.open(folder / "JPEGImages" / f"{name}.jpg").size
        files[f"cls/{name}.mat"] = mat(sbd_mask(name, (height, width)))
        files[f"inst/{name}.mat"] = files[f"img/{name}.jpg"] = b"not looked at"
    files |= masks or {}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"benchmark_RELEASE/dataset/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def small_voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VocFolder:
    """Nine images: four in train, two in val, three in neither and without masks."""
    root = tmp_path / "VOC2012"
    write_synthetic(root, train=7, val=2, size=(40, 48), seed=1)
    (root / "classes.txt").unlink()
    lists = root / voc.SPLITS
    (lists / "train.txt").write_text("".join(f"synth_00000{i}\n" for i in range(4)))
    (lists / "val.txt").write_text("synth_000004\nsynth_000005\n")
    for index in (6, 7, 8):
        (root / voc.MASKS / f"synth_00000{index}.png").unlink()
    monkeypatch.setattr(trainaug, "TRAINAUG", 7)
    monkeypatch.setattr(trainaug, "VAL", 2)
    return VocFolder.find(root)


def test_official_masks_where_there_are_any_and_no_val(small_voc: VocFolder, tmp_path: Path) -> None:
    trainaug.build_trainaug(small_voc, write_sbd(tmp_path / "benchmark.tgz", small_voc.root))
    folder = VocFolder.find(small_voc.root, trainaug.MASKS)
    assert folder.ids("trainaug") == [f"synth_00000{i}" for i in (0, 1, 2, 3, 6, 7, 8)]
    assert set(folder.ids("trainaug")).isdisjoint(folder.ids("val"))
    for name in [*folder.ids("trainaug"), *folder.ids("val")]:
        made = read_mask(folder.mask(name), 21)
        if int(name[-1]) < 6:
            assert folder.mask(name).read_bytes() == (small_voc.root / voc.MASKS / f"{name}.png").read_bytes()
        else:
            assert torch.equal(made, torch.from_numpy(sbd_mask(name, tuple(made.shape))))
            with Image.open(folder.mask(name)) as image:
                assert image.mode == "P"
                assert image.getpalette()[3:6] == [128, 0, 0]  # type: ignore[index]
    assert trainaug.has_trainaug(small_voc)
    assert not list(small_voc.root.glob(".*"))


def test_goes_on_where_it_stopped(small_voc: VocFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_sbd(tmp_path / "benchmark.tgz", small_voc.root)
    real, calls = trainaug.read_sbd_mask, []

    def interrupted(content: bytes, name: str) -> Any:
        calls.append(name)
        if name.endswith("7.mat"):
            raise KeyboardInterrupt
        return real(content, name)

    monkeypatch.setattr(trainaug, "read_sbd_mask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainaug.build_trainaug(small_voc, archive)
    assert not (small_voc.root / trainaug.MASKS).exists()
    assert not trainaug.has_trainaug(VocFolder.find(small_voc.root))
    (small_voc.root / ".SegmentationClassAug.part" / ".synth_000007.png.1.part").touch()  # as SIGKILL would leave it
    monkeypatch.setattr(trainaug, "read_sbd_mask", lambda content, name: calls.append(name) or real(content, name))
    trainaug.build_trainaug(small_voc, archive)
    assert len(calls) == 4  # 6 and 8 once, 7 twice
    assert len(list((small_voc.root / trainaug.MASKS).iterdir())) == 9


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("synth_000006", b"garbage", r"cls/synth_000006\.mat cannot be read: "),
        ("synth_000006", mat(np.zeros((9, 9), np.uint8)), r"is 9x9 but its image is \d+x\d+"),
        ("synth_000006", mat(np.full((40, 48), 21, np.uint8)), r"holds label 21"),
        ("synth_000006", mat(np.zeros((40, 48), np.float64)), r"is float64 of shape \(40, 48\)"),
        ("synth_000099", mat(np.zeros((9, 9), np.uint8)), r"id 'synth_000099' has no image"),
    ],
)
def test_bad_masks(small_voc: VocFolder, tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    archive = write_sbd(tmp_path / "benchmark.tgz", small_voc.root, {f"cls/{name}.mat": content})
    with pytest.raises(DataError, match=reason):
        trainaug.build_trainaug(small_voc, archive)
    assert not (small_voc.root / trainaug.MASKS).exists()


def test_lists_and_lengths_must_fit(small_voc: VocFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_sbd(tmp_path / "a.tgz", small_voc.root, train=SBD_TRAIN[1:])
    with pytest.raises(DataError, match="lists 5 ids but has masks of 6; 1 do not match"):
        trainaug.build_trainaug(small_voc, archive)
    archive = write_sbd(tmp_path / "b.tgz", small_voc.root)
    monkeypatch.setattr(trainaug, "TRAINAUG", 10_582)
    with pytest.raises(DataError, match="make 7 images of trainaug, not 10582"):
        trainaug.build_trainaug(small_voc, archive)
    monkeypatch.setattr(trainaug, "VAL", 1449)
    with pytest.raises(DataError, match="has 2 images in val; VOC2012 has 1449"):
        trainaug.build_trainaug(small_voc, archive)
    assert not (small_voc.root / voc.SPLITS / "trainaug.txt").exists()


def test_what_is_there_is_not_overwritten(small_voc: VocFolder, tmp_path: Path) -> None:
    (small_voc.root / trainaug.MASKS).mkdir()
    with pytest.raises(DataError, match="SegmentationClassAug exists but is not complete; move it away"):
        trainaug.build_trainaug(small_voc, tmp_path / "none")


def test_hostile_archive(small_voc: VocFolder, tmp_path: Path) -> None:
    path = tmp_path / "benchmark.tgz"
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo("benchmark_RELEASE/dataset/cls/../../../evil.mat")
        tar.addfile(info)
    with pytest.raises(DataError, match="is not trusted"):
        trainaug.build_trainaug(small_voc, path)


def test_the_known_lengths() -> None:
    assert (trainaug.TRAINAUG, trainaug.VAL) == (10_582, 1_449)
