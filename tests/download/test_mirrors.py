from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.datasets import SBDataset
from torchvision.datasets.voc import DATASET_YEAR_DICT

from vocseg.download.mirrors import SBD, VOC_ARCHIVES, sources, user_mirrors
from vocseg.errors import InputError

VOC = VOC_ARCHIVES["2012"]


@pytest.mark.parametrize("year", VOC_ARCHIVES)
def test_agrees_with_torchvision(year: str) -> None:
    theirs, ours = DATASET_YEAR_DICT[year], VOC_ARCHIVES[year]
    assert ours.md5 == theirs["md5"]
    assert theirs["url"].endswith(f"voc{year}/{ours.name}")
    assert any(url.endswith(f"/pascal/VOC/voc{year}/{ours.name}") for url in ours.urls)
    assert all(url.endswith(ours.name) for url in ours.urls)


def test_sbd_agrees_with_torchvision() -> None:
    assert (SBD.name, SBD.md5) == (SBDataset.filename, SBDataset.md5)
    assert SBDataset.url in SBD.urls


@pytest.mark.parametrize(
    ("mirror", "voc", "sbd"),
    [
        ("https://host/data", f"https://host/data/{VOC.name}", "https://host/data/benchmark.tgz"),
        (
            "https://host/data/?token=a%2Fb",
            f"https://host/data/{VOC.name}?token=a%2Fb",
            "https://host/data/benchmark.tgz?token=a%2Fb",
        ),
        (f"https://host/{VOC.name}", f"https://host/{VOC.name}", None),
        ("https://host/benchmark.tgz?x=1", None, "https://host/benchmark.tgz?x=1"),
        ("https://host/my-copy.TAR", "https://host/my-copy.TAR", None),
        ("https://host/sbd.tar.gz", None, "https://host/sbd.tar.gz"),
        (f"https://host/{VOC_ARCHIVES['2007'].name}", None, None),
        ("http://host", f"http://host/{VOC.name}", "http://host/benchmark.tgz"),
    ],
)
def test_addresses(mirror: str, voc: str | None, sbd: str | None) -> None:
    for archive, expected in ((VOC, voc), (SBD, sbd)):
        assert sources(archive, user_mirrors([mirror])) == [*([expected] if expected else []), *archive.urls]


def test_paths(tmp_path: Path) -> None:
    folder, copy = tmp_path / "a b", tmp_path / "copy of voc.tar"
    (folder / "looks-like.tar").mkdir(parents=True)
    copy.touch()
    expected = {str(folder): folder / VOC.name, folder.as_uri(): folder / VOC.name, str(copy): copy, copy.as_uri(): copy}
    expected[str(folder / "looks-like.tar")] = folder / "looks-like.tar" / VOC.name
    for mirror, path in expected.items():
        assert sources(VOC, user_mirrors([mirror]))[0] == path
    assert sources(SBD, user_mirrors([str(copy)])) == [*SBD.urls]


def test_users_come_first_and_the_command_line_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_MIRRORS", "https://b/x,https://c/x  https://d/x\n")
    assert user_mirrors(["https://a/x"]) == [f"https://{host}/x" for host in "abcd"]
    assert user_mirrors() == [f"https://{host}/x" for host in "bcd"]
    assert sources(VOC, [VOC.urls[0]]) == [*VOC.urls]


@pytest.mark.parametrize(
    ("mirror", "message"),
    [
        ("ftp://host/x", "ftp is not one of http, https, file or a path"),
        ("http:///x", "names no host"),
        ("http://[bad", "is not a URL: Invalid IPv6 URL"),
        ("http://host:x/", "is not a URL: Port could not be cast"),
        ("file://[x", "is not a URL"),
        ("/no/such/folder", "there is no file or folder /no/such/folder"),
        ("file:///no/such.tar", "there is no file or folder /no/such.tar"),
        ("example.org/voc", "there is no file or folder example.org/voc"),
    ],
)
def test_bad_mirrors(mirror: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        user_mirrors([mirror])
