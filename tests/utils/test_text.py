from __future__ import annotations

import pytest

from vocseg.errors import SettingError
from vocseg.utils.text import parse_size


@pytest.mark.parametrize("text", ["375", "0x5", "axb", "375x", "-1x5", "375x500x3"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(SettingError, match=f"size '{text}' is not HEIGHTxWIDTH"):
        parse_size(text)
