"""What a person does, in a real browser."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from playwright.sync_api import Browser, Page, expect
from pydicom.data import get_testdata_file

from kdlight import images
from kdlight.images import Image, Window
from tests.browser.conftest import Visit, serving

Open = Callable[..., Visit]
MR = Path(str(get_testdata_file("MR_small.dcm", download=False)))


def upload(page: Page, path: Path) -> None:
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files(path)


def shown(page: Page, role: str) -> np.ndarray:
    """The pixels on a pane's screen, (H, W, 3), read back from its canvas."""
    address = page.locator(f"canvas[data-role={role}]").evaluate("canvas => canvas.toDataURL('image/png')")
    with Pillow.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGBA"))[..., :3]


def picture(page: Page, role: str, image: Image) -> np.ndarray:
    """The part of a pane that the picture takes at 1:1, (rows, columns, 3)."""
    expect(page.locator(f"canvas[data-role={role}]")).to_have_attribute("data-scale", "1")
    place = page.locator(f"canvas[data-role={role}]").evaluate("c => [c.dataset.left, c.dataset.top, c.dataset.scale]")
    left, top, scale = (float(value) for value in place)
    assert scale == 1
    rows, columns = image.shape
    return shown(page, role)[int(top) : int(top) + rows, int(left) : int(left) + columns]


def read(visit: Visit, path: Path) -> None:
    """Upload a file and have it read, also one that the bundle withholds: MR is a crop of 64 x 64 pixels."""
    upload(visit.page, path)
    opinions(visit.page)


def opinions(page: Page) -> None:
    """Wait for both; an image that is withheld is read anyway, which holds for the session."""
    both, anyway = page.locator(".kd-opinion").nth(1), page.get_by_role("button", name="Read anyway")
    both.or_(anyway).first.wait_for()
    if anyway.is_visible():
        anyway.click()
    both.wait_for()


def settle(page: Page) -> None:
    """Two animation frames: what was asked to be drawn is on the screen."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def test_a_dicom_gets_two_predictions_two_maps_and_another_window(visit: Open, tmp_path: Path) -> None:
    (tmp_path / "head").write_bytes(next(s.data for s in images.samples() if s.name == "Brain MRI phantom"))
    seen = visit()
    page = seen.page
    read(seen, tmp_path / "head")
    for role in ("teacher", "student"):
        expect(page.locator(f".kd-opinion.{role} .kd-class")).to_have_text(re.compile(r"\w+"))
        shares = [
            int(n)
            for n in re.findall(r"(\d+) %", " ".join(page.locator(f".kd-opinion.{role} .kd-num").all_inner_texts()))
        ]
        assert sum(shares) == pytest.approx(100, abs=2)
    expect(page.get_by_role("button", name="Measure here")).to_be_visible()
    plain = {role: shown(page, role) for role in ("teacher", "student")}
    assert np.array_equal(plain["teacher"][..., 0], plain["teacher"][..., 2])  # gray while the map is off
    page.get_by_test_id("stCheckbox").get_by_text("Heat map").click()
    for role in ("teacher", "student"):
        page.locator(f"canvas[data-role={role}]:not([data-map=''])").wait_for()
    settle(page)
    mapped = {role: shown(page, role) for role in ("teacher", "student")}
    roles = ("teacher", "student")
    failed = {role: page.locator(f".pane.{role}").get_by_text("This map failed").is_visible() for role in roles}
    for role in ("teacher", "student"):
        tinted = np.abs(mapped[role].astype(int) - mapped[role].mean(axis=2, keepdims=True)).max(axis=2) > 12
        assert (tinted.mean() > 0.01) is not failed[role], role  # a map that failed is gray
        assert not np.array_equal(mapped[role], plain[role])
    assert not all(failed.values())
    page.get_by_label("Heat map opacity").fill("0")
    settle(page)
    assert np.array_equal(shown(page, "teacher"), plain["teacher"])
    page.get_by_label("Window width").fill("400")
    page.get_by_label("Window width").press("Enter")
    settle(page)
    assert not np.array_equal(shown(page, "teacher"), plain["teacher"])
    assert np.array_equal(shown(page, "teacher"), shown(page, "student"))


@pytest.mark.parametrize("name", ["Small CT", "Brain MRI phantom", "Chest X-ray phantom", "Skin lesion phantom"])
def test_native_pixels_are_exact(visit: Open, name: str, tmp_path: Path) -> None:
    sample = next(s for s in images.samples() if s.name == name)
    (tmp_path / "scan").write_bytes(sample.data)
    image = images.read(sample.data)
    seen = visit(width=1920)
    page = seen.page
    upload(page, tmp_path / "scan")
    page.locator(".viewer[data-scan]").wait_for()
    page.get_by_role("button", name="1:1").click()
    page.mouse.move(5, 5)
    settle(page)
    for role in ("teacher", "student"):
        expected = image.display()
        gray = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, 2)
        assert np.array_equal(picture(page, role, image), gray)
    if image.color:
        return
    own = Window(float(image.pixels.mean()), float(np.ptp(image.pixels)) / 3)
    for label, value in (("Window level", own.center), ("Window width", own.width)):
        page.get_by_label(label).fill(repr(value))
        page.get_by_label(label).press("Enter")
    page.get_by_role("button", name="Invert").click()
    settle(page)
    assert np.array_equal(picture(page, "teacher", image)[..., 0], image.display(own, invert=True))


def test_the_scan_follows_hand_and_keyboard(visit: Open) -> None:
    seen = visit()
    page = seen.page
    read(seen, MR)
    viewer, canvas = page.locator(".viewer"), page.locator("canvas[data-role=teacher]")
    canvas.scroll_into_view_if_needed()
    first = viewer.get_attribute("data-width")
    box = canvas.bounding_box()
    assert box
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 40, middle[1] + 20, steps=4)
    page.mouse.up()
    assert viewer.get_attribute("data-width") != first
    canvas.dblclick()
    assert viewer.get_attribute("data-width") == first
    page.keyboard.press("ArrowRight")
    assert float(viewer.get_attribute("data-width") or 0) > float(first or 0)
    page.keyboard.press("i")
    assert viewer.get_attribute("data-inverted") == "true"
    scale = float(canvas.get_attribute("data-scale") or 0)
    page.keyboard.press("+")
    settle(page)
    assert float(canvas.get_attribute("data-scale") or 0) == pytest.approx(scale * 1.25)
    page.keyboard.press("r")
    page.mouse.move(*middle)
    settle(page)
    image = images.read(MR)
    said = page.locator(".readout").inner_text()
    column, row = (int(part.split()[1]) for part in said.split("·")[0].split(","))
    assert f"value {int(image.pixels[row, column])}" in said


def test_frames_change_under_a_window_that_stays(visit: Open) -> None:
    seen = visit()
    page = seen.page
    dose = Path(str(get_testdata_file("rtdose.dcm", download=False)))
    upload(page, dose)
    page.locator(".viewer[data-scan]").wait_for()
    for label, value in (("Window level", "1000000"), ("Window width", "300000")):
        page.get_by_label(label).fill(value)
        page.get_by_label(label).press("Enter")
    page.get_by_role("button", name="1:1").click()
    page.get_by_role("slider", name="Frame").press("End")
    expect(page.get_by_text("frame 15/15")).to_be_visible()
    expect(page.locator("canvas[data-role=teacher]")).to_have_attribute("aria-label", re.compile("frame 15 of 15"))
    settle(page)
    last = images.read(dose, frame=14)
    assert np.array_equal(picture(page, "teacher", last)[..., 0], last.display(Window(1_000_000, 300_000)))


def test_a_wide_picture_is_not_stretched_and_a_tiny_one_says_how_large_it_is_shown(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    page = seen.page
    values = np.zeros((20, 60), np.uint8)
    values[5:15, 20:40] = 255
    Pillow.fromarray(values).save(tmp_path / "wide.png")
    upload(page, tmp_path / "wide.png")
    page.locator(".viewer[data-scan]").wait_for()
    page.get_by_text("Which modality is this?").wait_for()
    expect(page.locator("canvas[data-role=teacher]")).to_have_attribute("data-scale", re.compile(r"^[1-9]"))
    settle(page)
    scale = float(page.locator("canvas[data-role=teacher]").get_attribute("data-scale") or 0)
    bright = shown(page, "teacher")[..., 0] > 127
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    width = page.locator("canvas[data-role=teacher]").evaluate("canvas => canvas.width")
    assert scale == pytest.approx(width / 60)  # as wide as the pane
    assert len(rows) == pytest.approx(10 * scale, abs=2)
    assert len(columns) == pytest.approx(20 * scale, abs=2)
    expect(page.locator(".zoom").first).to_have_text(f"shown at {float(f'{scale:.2g}'):g} x")


@pytest.mark.parametrize("theme", ["Dark", "Light"])
@pytest.mark.parametrize("width", [1280, 1920])
def test_every_page_opens_in_both_themes(visit: Open, theme: str, width: int) -> None:
    seen = visit(theme=theme, width=width)
    page = seen.page
    expect(page.get_by_text("One scan, two opinions")).to_be_visible()
    bright = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (sum(int(v) for v in bright[4:-1].split(",")) > 384) == (theme == "Light")
    for name, words in (
        ("Compare", "As recorded in the card"),
        ("Train", "Start training"),
        ("Library", "Open the card"),
        ("Read", "One scan, two opinions"),
    ):
        seen.go(name)
        expect(page.get_by_text(words).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.get_by_test_id("stException").count() == 0


def test_dark_is_the_first_choice_whatever_the_system_says(visit: Open) -> None:
    page = visit(system="light").page
    expect(page.get_by_text("One scan, two opinions")).to_be_visible()
    expect(page.locator(".stApp")).to_have_css("background-color", "rgb(16, 18, 20)")  # after one reload


def test_a_refused_file_leaves_the_rest_at_work(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    (tmp_path / "broken.dcm").write_bytes(MR.read_bytes()[:900])
    upload(seen.page, tmp_path / "broken.dcm")
    expect(seen.page.get_by_text("This file was refused.")).to_be_visible()
    read(seen, MR)
    expect(seen.page.get_by_role("button", name="Measure here")).to_be_visible()


def test_a_file_that_is_too_large_leaves_nothing_of_the_scan_before(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    (tmp_path / "large.dcm").write_bytes(bytes((64 << 20) + 1))
    read(seen, MR)
    upload(seen.page, tmp_path / "large.dcm")
    expect(seen.page.get_by_text("One file was not read: it is larger than 64 MB")).to_be_visible()
    expect(seen.page.locator(".kd-opinion")).to_have_count(0)
    expect(seen.page.locator(".viewer")).to_have_count(0)
    read(seen, MR)
    expect(seen.page.get_by_text("One file was not read")).to_have_count(0)


READING = """() => {
  if (!document.querySelector("[data-testid=stMain]").innerText.includes("Reading the file")) return null;
  const seen = (e) => e.getBoundingClientRect().height > 0;
  return [[...document.querySelectorAll(".kd-verdict, .kd-opinion, .st-key-viewer")].filter(seen).length];
}"""


def test_while_a_file_is_read_nothing_of_the_one_before_is_seen(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    read(seen, MR)
    noise = np.random.default_rng(0).integers(0, 255, (6000, 6000), dtype=np.uint8)
    Pillow.fromarray(noise).save(tmp_path / "slow.png", compress_level=1)
    upload(seen.page, tmp_path / "slow.png")
    assert seen.page.wait_for_function(READING).json_value() == [0]
    expect(seen.page.get_by_text("6000 x 6000")).to_be_visible()


def test_several_files_are_read_one_by_one_and_a_large_one_among_them_is_named(visit: Open, tmp_path: Path) -> None:
    page = visit().page
    (tmp_path / "large.dcm").write_bytes(bytes((64 << 20) + 1))
    Pillow.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "second.png")
    zone = page.locator("[data-testid=stFileUploaderDropzoneInput]").first
    zone.set_input_files([MR, tmp_path / "large.dcm", tmp_path / "second.png"])
    expect(page.get_by_text("Uploaded file 1 of 2")).to_be_visible()
    expect(page.get_by_text("One file was not read: it is larger than 64 MB")).to_be_visible()
    opinions(page)
    page.get_by_label("File, of 2").fill("2")
    page.get_by_label("File, of 2").press("Enter")
    expect(page.get_by_text("Uploaded file 2 of 2")).to_be_visible()
    expect(page.get_by_text("Which modality is this?")).to_be_visible()
    expect(page.locator(".kd-opinion")).to_have_count(0)


@pytest.mark.parametrize("theme", ["Dark", "Light"])
def test_the_verdict_and_the_pictures_are_in_sight_at_once(visit: Open, theme: str) -> None:
    seen = visit(theme=theme, height=800)
    read(seen, MR)
    for part in (seen.page.locator(".kd-verdict"), seen.page.locator("canvas[data-role=teacher]")):
        box = part.bounding_box()
        assert box
        assert box["y"] >= 60
        assert box["y"] + min(box["height"], 400) <= 800


@pytest.mark.parametrize("width", [768, 640])
def test_a_narrow_window_has_one_column_and_cuts_nothing(visit: Open, width: int) -> None:
    seen = visit(width=width, height=800)
    page = seen.page
    expect(page.get_by_role("button", name="Expand sidebar")).to_be_visible()
    page.get_by_role("button", name="Head MRI", exact=True).click()
    page.locator(".kd-opinion").nth(1).wait_for()
    panes = [page.locator(f"canvas[data-role={role}]").bounding_box() for role in ("teacher", "student")]
    answers = [page.locator(".kd-opinion").nth(number).bounding_box() for number in range(2)]
    for upper, lower in (panes, answers):
        assert upper
        assert lower
        assert upper["x"] == lower["x"]
        assert upper["y"] + upper["height"] <= lower["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_text("Research and teaching use only")).to_be_in_viewport()
    cut = "e => e.filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"
    assert page.locator("[data-testid=stMain] :is(button, button p, label, .kd-name)").evaluate_all(cut) == []


FOCUSED = """() => {
  let at = document.activeElement;
  while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  const box = at.getBoundingClientRect(), style = getComputedStyle(at);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const seen = box.width > 4 && box.height > 4 && style.visibility === "visible";
  return [at.tagName, at.dataset.testid ?? "", at.innerText ?? "", ring, seen];
}"""


def test_every_stop_of_the_keyboard_is_seen(visit: Open) -> None:
    page = visit().page
    page.get_by_role("button", name="Bone scan").wait_for()
    stops = []
    for _ in range(40):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
    reached = [stop for stop in stops if stop[0] != "BODY"]
    assert {"Read", "Compare", "Train", "Library"} <= {stop[2] for stop in reached if stop[1] == "stTopNavLink"}
    assert [stop for stop in reached if not (stop[3] and stop[4])] == []


def test_a_page_is_opened_by_its_address(visit: Open) -> None:
    page = visit(path="compare").page
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.get_by_text("As recorded in the card").first).to_be_visible()
    health = page.request.get(f"{page.url}/_stcore/health")
    assert (health.status, health.text()) == (200, "ok")
    page.get_by_test_id("stTopNavLink").filter(has_text="Library").click()
    expect(page.get_by_role("heading", name="Library")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    page.goto(page.url.replace("compare", "read"))
    expect(page.get_by_text("One scan, two opinions")).to_be_visible()


def test_a_bundle_is_verified_downloaded_and_comes_back(visit: Open, tmp_path: Path) -> None:
    seen = visit()
    page = seen.page
    seen.go("Library")
    page.get_by_role("button", name="Open the card").first.click()
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("Every checksum is right")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").get_by_role("button").click()
    download.value.save_as(tmp_path / "bundle.zip")
    page.get_by_role("button", name="All bundles").click()
    upload(page, tmp_path / "bundle.zip")
    expect(page.get_by_text("is in your library.")).to_be_visible()


def test_a_server_whose_first_visit_is_not_the_first_page_still_shows_the_app(
    chromium: Browser, tmp_path: Path
) -> None:
    with serving(tmp_path) as address:
        page = chromium.new_page()
        page.goto(f"{address}/compare")
        expect(page.get_by_text("Research and teaching use only")).to_be_visible()
        expect(page.get_by_role("link", name="Library")).to_be_visible()
        expect(page.get_by_role("heading", name="Compare")).to_be_visible()
        assert page.get_by_text("app", exact=True).count() == 0
