from __future__ import annotations

import pytest

from vocseg.doctor.leaks import role, shared_ids
from vocseg.doctor.survey import SplitList


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val", "scored"), ("val_2007", "scored"), ("test", "scored"), ("minival", "scored"), ("Val", "scored"),
        ("trainval", "both"), ("trainval_aug", "both"), ("train_val", "both"), ("all", "both"), ("default", "both"),
        ("train", "trained"), ("trainaug", "trained"), ("train_2007", "trained"), ("fold1", "trained"), ("allotment", "trained"),
    ],
)  # fmt: skip
def test_role(name: str, expected: str) -> None:
    assert role(name) == expected


def shared(**splits: str) -> list[tuple[str, str]]:
    lists = [SplitList(name, "m", tuple(ids)) for name, ids in splits.items()]
    return [(case.kind, case.file) for case in shared_ids(lists)]


def test_what_is_normal_in_voc() -> None:
    assert shared(train="abc", trainaug="abcde", train_2007="ab", val="xyz", val_2007="xy", trainval="abcxyz") == []


def test_what_is_not() -> None:
    assert shared(train="abx", val="xyz") == [("same-id", "x")]
    assert shared(trainaug="abxy", val="xyz", trainval="abxyz") == [("same-id", "x"), ("same-id", "y")]
    assert shared(val="abc", test="bcd") == [("overlap", "val, test")]
    assert shared(val="abc", test="bc") == []
