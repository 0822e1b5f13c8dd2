from vocseg import voc


def test_colors_are_the_devkits() -> None:
    # First colors, the last class, and void, as printed in the devkit's documentation (VOClabelcolormap).
    assert voc.PALETTE[:5] == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert voc.PALETTE[20] == (0, 64, 128)
    assert voc.PALETTE[voc.VOID] == (224, 224, 192)
    assert len(set(voc.PALETTE)) == 256


def test_classes() -> None:
    assert len(voc.CLASSES) == len(set(voc.CLASSES)) == 21
    assert voc.CLASSES[0] == "background"
    assert voc.CLASSES[1:] == tuple(sorted(voc.CLASSES[1:]))
