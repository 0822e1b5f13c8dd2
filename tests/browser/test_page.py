"""An image comes in, its mask is shown, named, switched and downloaded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import vocseg
from browser import steps
from browser.watched import PHOTOS, Watched
from vocseg.inference.result import Segmentation

pytestmark = pytest.mark.browser
CAT, ASTRONAUT = PHOTOS / "chelsea.jpg", PHOTOS / "astronaut.jpg"
Expected = dict[str, Segmentation]


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_an_image_that_is_dropped_or_pasted_gets_its_mask(page: Any, how: str) -> None:
    steps.bring(page, CAT, how=how)
    steps.wait_for_mask(page)
    assert steps.size(page, "overlay") == steps.size(page, "photo") == (451, 300)
    assert page.inner_text("#status").startswith("chelsea.jpg: cat ")
    assert page.locator("#classes .name").all_inner_texts() == ["cat", "background"]


def test_an_image_can_be_chosen_twice(page: Any) -> None:
    for name in (CAT, ASTRONAUT, ASTRONAUT):
        with page.expect_response("**/v1/predict*"):
            page.set_input_files("#file", name)
        page.locator("#status", has_text=f"{name.name}: ").wait_for()


def test_the_pointer_names_the_class_of_the_pixel(page: Any, expected: Expected) -> None:
    steps.bring(page, ASTRONAUT)
    steps.wait_for_mask(page)
    result = expected["astronaut.jpg"]
    height, width = result.mask.shape
    random = np.random.default_rng(0)
    for x, y in random.integers(0, (width, height), (30, 2)):
        assert steps.point_at(page, (x + 0.5) / width, (y + 0.5) / height) == result.classes[result.mask[y, x]]
    page.mouse.move(1, 1)
    assert page.is_hidden("#tip")


def test_a_touch_names_the_class(page: Any) -> None:
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    box = page.locator("#view").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.inner_text("#tip") == "cat"
    page.touchscreen.tap(box["x"] + 0.98 * box["width"], box["y"] + 0.02 * box["height"])
    assert page.inner_text("#tip") == "background"


def test_large_images_are_drawn_smaller_and_named_exactly(page: Any) -> None:
    with Image.open(CAT) as photo:
        large = photo.resize((2706, 1800))
    content = io.BytesIO()
    large.save(content, "JPEG")
    steps.bring(page, content.getvalue(), "large.jpg")
    steps.wait_for_mask(page)
    assert steps.size(page, "overlay") == (2048, 1362)
    result = vocseg.Segmenter(device="cpu")(content.getvalue())
    for x, y in np.random.default_rng(1).integers(0, large.size, (10, 2)):
        assert steps.point_at(page, (x + 0.5) / 2706, (y + 0.5) / 1800) == result.classes[result.mask[y, x]]


def test_classes_are_shown_and_hidden(page: Any) -> None:
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    middle, corner = (0.5, 0.5), (0.99, 0.01)
    assert steps.pixel(page, "overlay", *middle) == [64, 0, 0, 255]
    assert steps.pixel(page, "overlay", *corner)[3] == 0
    page.uncheck("#classes li:has-text('cat') input")
    page.check("#classes li:has-text('background') input")
    page.mouse.move(1, 1)  # a class that is pointed at in the list is shown alone
    assert steps.pixel(page, "overlay", *middle)[3] == 0
    assert steps.pixel(page, "overlay", *corner) == [0, 0, 0, 255]
    page.click("#none")
    assert steps.pixel(page, "overlay", *corner)[3] == 0
    page.click("#all")
    assert steps.pixel(page, "overlay", *middle)[3] == steps.pixel(page, "overlay", *corner)[3] == 255
    page.hover("#classes li:has-text('background')")
    assert steps.pixel(page, "overlay", *middle)[3] < 128


def test_bars_show_the_areas(page: Any, expected: Expected) -> None:
    steps.bring(page, ASTRONAUT)
    steps.wait_for_mask(page)
    tracks = page.locator("#classes .track").evaluate_all("all => all.map(one => one.clientWidth)")
    bars = page.locator("#classes .fill").evaluate_all("all => all.map(one => one.clientWidth)")
    areas = expected["astronaut.jpg"].areas()
    assert np.allclose(np.divide(bars, tracks), list(areas.values()), atol=0.01)
    assert page.locator("#classes output").all_inner_texts() == [f"{100 * share:.1f} %" for share in areas.values()]


def test_masks_that_are_downloaded_are_the_segmenters(page: Any, expected: Expected) -> None:
    steps.bring(page, ASTRONAUT)
    steps.wait_for_mask(page)
    name, content = steps.download(page, "mask")
    mask = steps.opened(content)
    assert (name, mask.mode) == ("astronaut.png", "P")
    assert np.array_equal(np.asarray(mask), expected["astronaut.jpg"].mask.numpy())
    name, content = steps.download(page, "cutout")
    cutout = steps.opened(content)
    assert (name, cutout.mode, cutout.size) == ("astronaut-cutout.png", "RGBA", (512, 512))


def test_polygons_that_are_downloaded_have_the_masks_areas(page: Any, expected: Expected) -> None:
    steps.bring(page, ASTRONAUT)
    steps.wait_for_mask(page)
    areas = {name: round(share * 512 * 512) for name, share in expected["astronaut.jpg"].areas().items() if name != "background"}
    name, content = steps.download(page, "coco")
    coco = steps.loaded(content)
    assert (name, coco["images"][0]["file_name"]) == ("astronaut.coco.json", "astronaut.jpg")
    names = {row["id"]: row["name"] for row in coco["categories"]}
    found = dict.fromkeys(areas, 0)
    for row in coco["annotations"]:
        found[names[row["category_id"]]] += row["area"]
    assert found == areas
    name, content = steps.download(page, "labelme")
    labelme = steps.loaded(content)
    assert (name, labelme["imagePath"], labelme["imageHeight"]) == ("astronaut.json", "astronaut.jpg", 512)
    assert {shape["label"] for shape in labelme["shapes"]} - {"background"} == set(areas)  # holes are background


def test_the_overlay_is_downloaded_as_it_is_shown(page: Any) -> None:
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    with Image.open(CAT) as file:
        photo = np.asarray(file.convert("RGB")).astype(int)
    _, content = steps.download(page, "overlay")
    half = np.asarray(steps.opened(content).convert("RGB")).astype(int)
    assert np.abs(half[150, 225] - (0.4 * photo[150, 225] + 0.6 * np.array([64, 0, 0]))).max() < 4
    page.check("#compare")
    page.fill("#opacity", "100")
    name, content = steps.download(page, "overlay")
    view = np.asarray(steps.opened(content).convert("RGB")).astype(int)
    assert (name, view.shape) == ("chelsea-overlay.png", photo.shape)
    assert np.abs(view[:, :220] - photo[:, :220]).max() < 4  # before; decoders differ by a little
    assert (view[140:160, 230:260] == [64, 0, 0]).all()


def test_the_slider_uncovers_the_image(page: Any) -> None:
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    assert page.is_hidden("#divider")
    page.check("#compare")
    page.focus("#divider")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('#overlay').style.clipPath") == "inset(0px 0px 0px 50.5%)"
    box = page.locator("#view").bounding_box()
    y = box["y"] + 0.3 * box["height"]
    page.mouse.move(box["x"] + 0.505 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], y)
    page.mouse.up()
    assert float(page.input_value("#divider")) == pytest.approx(20, abs=1)
    page.uncheck("#compare")
    assert page.evaluate("document.querySelector('#overlay').style.clipPath") == ""


@pytest.mark.parametrize(("kind", "orientation"), [("JPEG", 6), ("PNG", 6), *(("WEBP", turn) for turn in range(1, 9))])
def test_photographs_are_upright(page: Any, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = io.BytesIO()
    with Image.open(CAT) as photo:
        photo.save(content, kind, exif=exif, quality=90)
    steps.bring(page, content.getvalue(), f"turned.{kind.lower()}", f"image/{kind.lower()}")
    steps.wait_for_mask(page)
    upright = ImageOps.exif_transpose(steps.opened(content.getvalue())).convert("RGB")
    assert steps.size(page, "photo") == steps.size(page, "overlay") == upright.size
    for x, y in ((40, 60), (200, 100), (120, 250)):
        shown = steps.pixel(page, "photo", (x + 0.5) / upright.width, (y + 0.5) / upright.height)
        assert np.abs(np.subtract(shown[:3], upright.getpixel((x, y)))).max() < 8


def test_a_file_that_the_browser_cannot_show_gets_its_mask(page: Any) -> None:
    content = io.BytesIO()
    with Image.open(CAT) as photo:
        photo.save(content, "TIFF")
    steps.bring(page, content.getvalue(), "cat.tif", "image/tiff")
    steps.wait_for_mask(page)
    assert steps.size(page, "overlay") == (451, 300)
    assert "the mask is shown without it" in page.inner_text("#notes")
    assert steps.opened(steps.download(page, "overlay")[1]).size == (451, 300)


def test_a_new_image_cancels_the_one_before(watched: Watched) -> None:
    page = watched.page
    steps.bring(page, ASTRONAUT)
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    assert page.inner_text("#status").startswith("chelsea.jpg: ")
    assert steps.size(page, "overlay") == (451, 300)
