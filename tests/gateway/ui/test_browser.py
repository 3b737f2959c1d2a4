"""The page in a real browser: Chromium through Playwright. Skipped where one of them is missing.

`COREA_SCREENSHOTS=FOLDER pytest tests/gateway/ui/test_browser.py` keeps the screenshots.
"""

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway import GatewayProcess, serving, upstream, write_config
from tests.fakes.server import Asked, Fail, FakeServer, Say
from tests.gateway.ui.rows import HOSTILE, decide, draw, label

from corea.gateway.billing.database import connect
from corea.gateway.billing.key_admin import KeyAdmin
from corea.gateway.billing.keys import Role

sync_api: Any = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
WIDTHS, THEMES = (360, 1600), ("light", "dark")
expect: Any = sync_api.expect

# the contrast of every visible text with what is behind it, by WCAG 2.2
LOW_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element);
    if (!walker.currentNode.textContent.trim() || !element.getClientRects().length) continue;
    if (element.closest("title, .hidden, .skip, :disabled")) continue;
    const inside = element instanceof SVGElement;
    const [a, b] = [light(parse(inside ? style.fill : style.color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${element.tagName} ${walker.currentNode.textContent}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""
FOCUSED = """() => {
  const e = document.activeElement, box = e.getBoundingClientRect(), name = e.getAttribute("aria-label");
  return [e.id || e.name || name || e.className, getComputedStyle(e).outlineStyle, box.width > 0 && box.left >= 0];
}"""
UNNAMED = """() => [...document.querySelectorAll("button, input, select, textarea")].filter((each) =>
  each.getClientRects().length && !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim())
).map((each) => each.outerHTML)"""


def say(asked: Asked) -> Say:
    if asked.body["model"] == "large":
        return Say("The large one says: 19.")
    sure = "0.95" if "12" in asked.question else "0.3"
    return Say(f"{HOSTILE} <answer>{HOSTILE}</answer><confidence>{sure}</confidence>")


@dataclass
class Site:
    """A gateway with stored decisions, and a browser."""

    gateway: GatewayProcess
    models: FakeServer
    browser: Any
    admin: str
    payer: str
    shots: Path
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.gateway.url.removesuffix("/v1")

    def page(self, secret: str | None = "", **options: Any) -> Any:
        """A new tab at /ui, logged in unless `secret` is None."""
        context = self.browser.new_context(**{"viewport": {"width": 1600, "height": 1000}, **options})
        page = context.new_page()
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(f"{self.url}/ui")
        if secret is not None:
            page.fill("#secret", secret or self.admin)
            page.keyboard.press("Enter")
        return page


@contextmanager
def running(folder: Path, fill: Callable[[Any], None] = lambda connection: None) -> Iterator[Site]:
    """A gateway and its models; the browser is to be set."""
    folder.mkdir()
    with closing(connect(folder / "corea.db")) as connection:
        keys = KeyAdmin(connection, "test")
        admin, payer = keys.create("root", role=Role.ADMIN)[1], keys.create("app")[1]
        keys.create(HOSTILE)
        fill(connection)
    with upstream(say) as models:
        write_config(folder, models.base_url, backend="max_retries = 0\nbreaker_failures = 3")
        with serving(folder) as gateway:
            yield Site(gateway, models, None, admin, payer, folder)


def traffic(connection: Any) -> None:
    now, rng = time.time(), random.Random(1)
    connection.execute("BEGIN")
    for i in range(600):
        x, at = min(0.99, rng.betavariate(5, 1.6)), now - (600 - i) * 900
        error = HOSTILE if i == 598 else None
        kept, right = x >= 0.8 and not error, rng.random() < x
        decide(connection, f"t{i}", x=x, kept=kept, at=at, small="0.0004", large="0.02", error=error)
        if i % 4 == 0:
            draw(connection, f"t{i}", x, not right, at=at, kept=kept, cost="0.02" if kept else "0")
        if i % 4 == 1:
            label(connection, f"t{i}", float(right), at=at)
    connection.execute("COMMIT")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """One with traffic, and one without."""
    folder = tmp_path_factory.mktemp("sites")
    shots = Path(os.environ.get("COREA_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    shots.mkdir(parents=True, exist_ok=True)
    with (
        running(folder / "site", traffic) as site,
        running(folder / "bare") as bare,
        sync_api.sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for each in (site, bare):
            each.browser, each.shots = browser, shots
        yield site, bare
        browser.close()


@pytest.fixture
def clean(sites: tuple[Site, Site]) -> Iterator[Site]:
    """The site with traffic, on which no script may fail and no other server may be asked."""
    site, _ = sites
    site.errors.clear()
    site.asked.clear()
    yield site
    for context in site.browser.contexts:
        context.close()
    assert [each for each in site.asked if not each.startswith(f"{site.url}/")] == []
    assert [each for each in site.asked if site.admin in each or site.payer in each] == []
    assert site.errors == []


def loaded(page: Any) -> None:
    for place in (
        "#money-chart svg",
        "#threshold-chart svg",
        "#reliability-chart svg",
        "#audit-body svg",
        "#keys-table table",
    ):
        page.wait_for_selector(place)
    page.wait_for_selector("#traffic-table table")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_is_readable(clean: Site, width: int, theme: str) -> None:
    page = clean.page(None, viewport={"width": width, "height": 900}, color_scheme=theme)
    page.wait_for_selector("#secret")
    assert page.evaluate(LOW_CONTRAST) == []
    page.screenshot(path=clean.shots / f"login-{theme}-{width}.png")
    page.fill("#secret", clean.admin)
    page.keyboard.press("Enter")
    loaded(page)
    expect(page.locator("#saved")).to_have_text(re.compile(r"\$\d+\.\d\d\d\d % less"))
    page.fill("#payer", clean.payer)
    page.fill("#question", "Which river?")
    page.click("#ask-button")
    page.wait_for_selector("#answer .total")
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(UNNAMED) == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    page.screenshot(path=clean.shots / f"page-{theme}-{width}.png", full_page=True)


def test_no_text_of_the_data_becomes_markup(clean: Site) -> None:
    page = clean.page()
    loaded(page)
    page.fill("#payer", clean.payer)
    page.fill("#question", f"12 {HOSTILE}")
    page.click("#ask-button")
    page.wait_for_selector("#answer .total")
    for place in ("#answer", "#keys-table", "#traffic-table"):
        expect(page.locator(place)).to_contain_text(HOSTILE)
    assert page.locator("main img, main script, main iframe").count() == 0
    assert page.title() == "COREA"


def test_the_playground_says_the_decision_and_asks_the_large_model_on_request(clean: Site) -> None:
    page = clean.page()
    page.fill("#question", "12 + 7?")
    page.click("#ask-button")
    expect(page.locator("#answer")).to_contain_text("Give an API key that pays")
    page.fill("#payer", clean.payer)
    page.click("#ask-button")
    expect(page.locator("#answer")).to_contain_text("confidence 0.95 ≥ threshold 0.8")
    expect(page.locator("#answer .total")).to_contain_text("estimated")
    calls = clean.models.billed.calls
    page.get_by_role("button", name="What would large have said? (about $").click()
    expect(page.locator("#answer")).to_contain_text("The large one says: 19.")
    assert clean.models.billed.calls == calls + 1
    page.fill("#question", "Which river?")
    page.click("#ask-button")
    expect(page.locator("#answer")).to_contain_text("confidence 0.3 < threshold 0.8")
    expect(page.locator("#answer .pill.deferred")).to_have_text("deferred")
    expect(page.locator("#traffic-table tr").nth(1)).to_contain_text("app")  # it is in the live traffic
    clean.errors[:] = [each for each in clean.errors if "401" not in each]  # the browser notes the first refusal


def test_the_keyboard_alone_is_enough(clean: Site) -> None:
    page = clean.page(None)
    page.wait_for_selector("#secret:focus")
    page.keyboard.type(clean.admin)
    page.keyboard.press("Enter")
    loaded(page)
    order = list[str]()
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found[0] in ("", *order):  # past the end
            break
        order.append(found[0])
        assert found[1:] == ["solid", True], found
        if found[0] == "slider":
            before = page.locator("#threshold-words").text_content()
            page.keyboard.press("End")
            expect(page.locator("#threshold-words")).to_contain_text("Defer everything")
            assert "Defer everything" in page.get_attribute("#slider", "aria-valuetext") != before
    wanted = [
        "skip",
        "days",
        "logout",
        "question",
        "payer",
        "ask-button",
        "pause",
        "slider",
        "in-use",
        "Limits of app",
        "Revoke app",
    ]
    assert [each for each in order if each in wanted] == wanted
    page.focus("#question")
    page.keyboard.type("12?")
    page.keyboard.press("Tab")
    page.keyboard.type(clean.payer)
    page.keyboard.press("Enter")
    page.wait_for_selector("#answer .total")


def test_keys_are_made_limited_and_revoked(clean: Site) -> None:
    page = clean.page()
    page.wait_for_selector("#keys-table table")
    page.fill("#create [name=name]", "made here")
    page.fill("#create [name=budget_month_usd]", "25")
    page.click("#create button")
    secret = page.locator("#new-key code").text_content()
    row = page.locator("#keys-table tr", has_text="made here")
    expect(row).to_contain_text("$25.00 a month")
    page.get_by_role("button", name="Use in the playground").click()
    page.keyboard.type("12 + 7?")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#answer .total")
    page.get_by_role("button", name="Limits of made here").click()
    page.fill("#dialog [name=requests_per_minute]", "many")
    page.click("#dialog-ok")
    expect(page.locator("#dialog-error")).to_contain_text("got many, expected a whole number")
    page.fill("#dialog [name=requests_per_minute]", "60")
    page.fill("#dialog [name=budget_month_usd]", "30")
    page.click("#dialog-ok")
    expect(row).to_contain_text("$30.00 a month")
    page.get_by_role("button", name="Revoke made here").click()
    page.click("#dialog-cancel")
    expect(row).not_to_contain_text("revoked")
    page.get_by_role("button", name="Revoke made here").click()
    page.click("#dialog-ok")
    expect(row).to_contain_text("revoked")
    page.reload()  # the admin key is kept for the tab, the new key is not
    page.wait_for_selector("#keys-table table")
    assert secret not in page.content()


def test_a_wrong_key_and_a_log_out_show_nothing(clean: Site) -> None:
    page = clean.page("corea-1-wrong")
    expect(page.locator("#login-error")).to_have_text("This admin key is unknown or was revoked.")
    assert page.locator("#app").is_hidden()
    page.fill("#secret", clean.admin)
    page.keyboard.press("Enter")
    loaded(page)
    page.click("#logout")
    page.wait_for_selector("#secret:focus")
    assert page.evaluate("JSON.stringify(sessionStorage)") == "{}"
    assert (page.locator("#keys-table").text_content(), page.locator("#traffic-table").text_content()) == ("", "")
    clean.errors[:] = [each for each in clean.errors if "401" not in each]


def test_motion_is_reduced_where_that_is_asked_for(clean: Site) -> None:
    names = []
    for wish in ("no-preference", "reduce"):
        page = clean.page(reduced_motion=wish)
        loaded(page)
        names.append(
            page.evaluate(
                "() => { const row = document.querySelector('#traffic-table tbody tr'); row.className = 'new';"
                " return getComputedStyle(row).animationName }"
            )
        )
    assert names == ["arrive", "none"]


def test_an_alarm_is_a_banner_until_it_is_acknowledged(clean: Site) -> None:
    page = clean.page(None)
    alarm = [f"kept answers: 31 % differ {HOSTILE}"]

    def answer(route: Any) -> None:
        response = route.fetch()
        found = response.json()
        assert [each["alarm"] for each in found["cascades"]] == [None]
        found["cascades"][0]["alarm"] = alarm[0] if alarm else None
        route.fulfill(response=response, json=found)

    page.route("**/v1/audit*", answer)
    page.fill("#secret", clean.admin)
    page.keyboard.press("Enter")
    loaded(page)
    banner = page.locator("#alarm")
    expect(banner).to_contain_text(f"Audit alarm: cascade corea, {alarm[0]}. Look at its evidence")
    assert banner.get_attribute("role") == "alert"  # read aloud
    assert (page.title(), page.evaluate(LOW_CONTRAST)) == ("COREA", [])
    page.screenshot(path=clean.shots / "alarm.png")
    alarm.clear()
    page.reload()
    loaded(page)
    expect(banner).to_be_hidden()


def test_without_decisions_and_with_models_down_it_says_so(sites: tuple[Site, Site]) -> None:
    _, site = sites
    page = site.page()
    expect(page.locator("#saved")).to_have_text("No decisions yet")
    for place, words in (
        ("#money-chart", "No decisions"), ("#traffic-table", "No decisions yet"), ("#confidence-chart", "No confid"),
        ("#reliability-chart", "No audited"), ("#audit-body", "No audit yet"), ("#threshold-note", "No decision of a"),
    ):  # fmt: skip
        expect(page.locator(place)).to_contain_text(words)
    expect(page.locator("#pill")).to_have_text("all models up")
    site.models.otherwise = Fail(500)
    page.fill("#payer", site.payer)
    page.fill("#question", "12?")
    for _ in range(4):
        page.click("#ask-button")
        expect(page.locator("#answer .error, #answer .total")).to_be_visible()
    expect(page.locator("#pill")).to_contain_text("down", timeout=10_000)
    expect(page.locator("#models-table")).to_contain_text("breaker open")
    expect(page.locator("#traffic-table")).to_contain_text("upstream")
    page.screenshot(path=site.shots / "down.png", full_page=True)
    site.gateway.stop()
    expect(page.locator("#offline")).to_have_text("The gateway does not answer. Trying again.", timeout=10_000)
