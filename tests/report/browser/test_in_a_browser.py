"""Reports in a browser: clicks and keys, two widths, light and dark, hostile content, many objects."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from visits import Visit

from simarchive import HDF5Storage
from simarchive.interop.report import gather, gathering, page_of

WATER = "8d13dbc120154cbaade23403d2d22a29"
N_MANY = int(os.environ.get("SIMARCHIVE_REPORT_OBJECTS", "10000"))


def test_it_sorts_filters_and_opens_objects_and_asks_for_nothing(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report)
    page = visit.page
    assert len(visit.keys()) == 13
    page.get_by_role("button", name="Size").click()
    page.get_by_role("button", name="Size").click()
    assert visit.column(8)[:2] == ["586 kB", "510 kB"]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Size")
    page.get_by_role("button", name="T", exact=True).click()
    temperatures = [text for text in visit.column(4) if text]
    assert temperatures == sorted(temperatures, key=lambda text: float(text.split()[0]))
    assert visit.column(4)[-1] == ""
    page.get_by_label("Filter").fill("liquid 298.15")
    assert len(visit.keys()) == 7
    assert page.locator("#status").inner_text() == "7 of 13 objects"
    page.get_by_label("Class", exact=True).select_option("simulation")
    assert set(visit.column(2)) == {"simulation"}
    page.get_by_role("link", name=WATER[:8]).click()
    dialog = page.get_by_role("dialog")
    assert dialog.get_by_role("heading", level=2).inner_text() == WATER
    assert dialog.get_by_text("1.0084 ± 0.0040 g/ml").is_visible()
    assert dialog.locator("svg[role=img]").count() == 8
    dialog.get_by_role("button", name="Next").click()
    assert dialog.get_by_role("heading", level=2).inner_text() != WATER
    # What an object refers to is a link.
    dialog.get_by_role("link", name="1377ac1104d545dabe75d0f3fc830153").click()
    assert dialog.get_by_role("heading", level=2).inner_text().startswith("1377ac11")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert "#" not in page.url
    assert visit.complaints == []


def turned(page: Page) -> list[float]:
    """Return how the structure is turned, as the viewer has it."""
    view: list[float] = page.evaluate("document.querySelector('.stage').viewer.getView()")
    return view[4:]


def colours(page: Page) -> int:
    """Return how many colours are seen where the structure is drawn."""
    shot = base64.b64encode(page.locator(".stage").screenshot()).decode()
    count: int = page.evaluate(
        """async (shot) => {
            const image = new Image();
            image.src = "data:image/png;base64," + shot;
            await image.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [image.width, image.height];
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const words = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
            return new Set(words).size;
        }""",
        shot,
    )
    return count


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_a_structure_is_drawn_and_turned_by_dragging(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    visit = Visit(browser, report, width=width, scheme=scheme)
    page = visit.page
    page.goto(f"{report.as_uri()}#object-{WATER}")
    assert page.evaluate("window.$3Dmol") is None  # it is loaded for whoever wants to see a structure
    assert page.get_by_text("output.pdb, 540 atoms").is_visible()
    page.get_by_role("button", name="Show in 3D").click()
    stage = page.get_by_role("img", name="Structure of output.pdb, 540 atoms")
    stage.wait_for()
    page.get_by_label("Drawn as").wait_for()
    assert turned(page) == [0, 0, 0, 1]
    assert colours(page) > 50
    box = stage.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 20, steps=4)
    page.mouse.up()
    by_mouse = turned(page)
    assert by_mouse != [0, 0, 0, 1]
    # Without a mouse.
    page.get_by_role("button", name="Turn to the right").focus()
    page.keyboard.press("Enter")
    assert turned(page) != by_mouse
    page.get_by_label("Drawn as").select_option("Spheres")
    # Its frames, by keys and by themselves.
    said = page.locator(".frames output")
    assert said.inner_text() == "output.pdb"
    picture = page.locator(".stage").screenshot()
    page.get_by_label("Frames of trajectory.dcd").focus()
    page.keyboard.press("End")
    assert said.inner_text() == "frame 60 of 60"
    assert page.locator(".stage").screenshot() != picture
    page.get_by_role("button", name="Play").click()
    said.filter(has_text="frame 4 of 60").wait_for()
    page.get_by_role("button", name="Stop").click()
    assert turned(page) != [0, 0, 0, 1]
    # The next one is drawn in the same place.
    page.get_by_role("button", name="Next", exact=True).first.click()
    page.get_by_role("button", name="Show in 3D").click()
    page.get_by_label("Drawn as").wait_for()
    assert page.locator("canvas").count() == 1
    assert colours(page) > 10
    assert visit.complaints == []


def test_where_nothing_can_be_drawn_it_says_so(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report)
    visit.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    visit.page.goto(f"{report.as_uri()}#object-{WATER}")
    visit.page.reload()
    visit.page.get_by_role("button", name="Show in 3D").click()
    visit.page.get_by_text("This browser cannot draw the structure").wait_for()


def test_it_can_be_used_with_the_keyboard_alone(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report)
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.locator("#rows a").first.focus()
    key = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    assert page.get_by_role("dialog").get_by_role("heading", level=2).inner_text().startswith(key)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == key
    assert visit.complaints == []


def test_an_address_with_a_key_opens_the_object(browser: Browser, report: Path) -> None:
    visit = Visit(browser, report)
    visit.page.goto(f"{report.as_uri()}#object-{WATER}")
    assert visit.page.get_by_role("dialog").get_by_role("heading", level=2).inner_text() == WATER


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_axe_finds_no_serious_fault(browser: Browser, report: Path, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(report.as_uri())
    for is_open in (False, True):
        if is_open:
            page.get_by_role("link", name=WATER[:8]).click()
            page.get_by_role("button", name="Show in 3D").click()
            page.get_by_label("Drawn as").wait_for()
        found = Axe().run(page).response["violations"]
        assert not [fault for fault in found if fault["impact"] in ("serious", "critical")]
        # Nothing is wider than the window.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_a_strangers_file_runs_no_script(browser: Browser, water: Path, tmp_path: Path) -> None:
    with HDF5Storage(water, mode="r") as backend:
        facts = gather(backend)
    attacks = (
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "\"' onmouseover='alert(1)' autofocus onfocus='alert(1)",
        "<!--<script>",
    )
    facts.metadata = [("title", attacks[0]), *(("note", attack) for attack in attacks)]
    for number, details in enumerate(facts.details):
        parsed = json.loads(details)
        parsed["type"] = attacks[number % len(attacks)]
        parsed["lines"] = list(attacks)
        parsed["files"] = [[attack, attack, "1 B", attack, attack] for attack in attacks]
        facts.details[number] = gathering.json_line(parsed)
    page = tmp_path / "hostile.html"
    page.write_text(page_of(facts))
    visit = Visit(browser, page)
    for link in visit.page.locator("#rows a").all()[:4]:
        link.click()
        visit.page.mouse.move(600, 500)
        assert visit.page.get_by_role("dialog").locator("img, script").count() == 0
        assert visit.page.get_by_role("dialog").get_by_text("<img src=x onerror=alert(1)>").count() > 0
        visit.page.keyboard.press("Escape")
    assert visit.page.locator("h1").inner_text() == attacks[0]
    assert visit.complaints == []


def test_even_markup_that_got_into_the_page_could_not_run(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    page = tmp_path / "broken.html"
    attack = '<script>alert(1)</script><img src="http://127.0.0.1:9/x.png" onerror="alert(1)">'
    page.write_text(report.read_text().replace('<main id="main"', f'{attack}<main id="main"'))
    visit = Visit(browser, page)
    assert "alert" not in visit.complaints
    assert len(visit.keys()) == 13
    assert any("Content Security Policy" in complaint for complaint in visit.complaints)


def test_many_objects_open_at_once(browser: Browser, water: Path, tmp_path: Path) -> None:
    """As many rows and details as a large archive has: those of the example, over and over."""
    with HDF5Storage(water, mode="r") as backend:
        facts = gather(backend)
    originals = list(zip(facts.objects, facts.details, strict=True))[4:12]
    facts.objects, facts.details = [], []
    n_bytes = 0
    for number in range(N_MANY):
        row, details = originals[number % len(originals)]
        facts.objects.append(
            gathering.ObjectRow(
                f"{number:032x}",
                row.data_class,
                row.substance,
                200.0 + number % 300,
                row.pascal,
                row.phase,
                2,
                number,
            )
        )
        n_bytes += len(details)
        facts.details.append(details if n_bytes < gathering.MOST_BYTES else "{}")
    page = tmp_path / "many.html"
    page.write_text(page_of(facts))
    assert page.stat().st_size < 25_000_000
    started = time.monotonic()
    visit = Visit(browser, page)
    assert len(visit.keys()) == 100
    # Some 0.4 s where nothing else runs; a quadratic step would take minutes.
    assert time.monotonic() - started < 30
    visit.page.get_by_role("button", name="Size").click()
    visit.page.get_by_role("button", name="Size").click()
    assert visit.keys()[0] == f"{N_MANY - 1:032x}"[:8]
    visit.page.get_by_role("button", name="Next", exact=True).last.click()
    assert visit.page.locator("#page").inner_text().startswith("page 2 of")
    visit.page.get_by_label("Filter").fill(f"{7:032x}")
    assert len(visit.keys()) == 1
    assert visit.complaints == []
