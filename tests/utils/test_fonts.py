from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vocseg.utils import fonts


def drawn(text: str) -> np.ndarray:
    image = Image.new("L", (60, 40), 255)
    ImageDraw.Draw(image).text((5, 5), text, fill=0, font=fonts.find_font(24, text))
    return np.asarray(image)


def test_letters_of_many_alphabets_differ() -> None:
    letters = [drawn(letter) for letter in ("a", "é", "ж", "λ", "ğ")]
    assert all(not np.array_equal(one, other) for place, one in enumerate(letters) for other in letters[:place])


def test_cjk_letters_use_a_system_font(monkeypatch: pytest.MonkeyPatch) -> None:
    if fonts.cjk_font() is not None:
        assert not np.array_equal(drawn("猫"), drawn("犬"))
    stand_in = Path(fonts._dejavu()).with_name("DejaVuSansMono.ttf")
    monkeypatch.setattr(fonts, "cjk_font", lambda: ("Some Sans CJK", stand_in))
    font = fonts.find_font(12, "a 猫")
    assert isinstance(font, ImageFont.FreeTypeFont)
    assert font.getname()[0] == "DejaVu Sans Mono"
    assert fonts.families("猫") == ["DejaVu Sans", "Some Sans CJK"]
    assert fonts.families("cat") == ["DejaVu Sans"]


def test_without_a_cjk_font_boxes_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "cjk_font", lambda: None)
    assert drawn("猫").min() < 128
