"""The page over HTTP: for holders of an admin key alone, safe in a browser, and readable in both themes."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.gateway.conftest import SURE, UNSURE, House, make_house
from tests.gateway.ui.rows import decide

from corea.gateway.billing.connection import SqlConnection
from corea.gateway.billing.database import DatabaseUnavailable
from corea.gateway.billing.decision_log import DecisionLog
from corea.gateway.billing.key_admin import KeyAdmin
from corea.gateway.billing.keys import Role, list_keys
from corea.gateway.billing.storage import open_database, storage_at
from corea.gateway.ops.affinity import SessionAffinity
from corea.gateway.ops.settings import GatewayStorage
from corea.gateway.server.admin import AdminApi
from corea.gateway.ui.history import History
from corea.gateway.ui.pages import FILES, STATIC, UiPages
from corea.metrics.score_map import IdentityMap
from corea.signals.calibrated_signal import CalibratedSignal
from corea.signals.verbalized import Verbalized

API = ("state", "summary", "thresholds?cascade=corea", "reliability", "decisions")


@dataclass
class Desk:
    """A gateway with the page, an admin key and a key that pays."""

    house: House
    open: Callable[[], AbstractContextManager[SqlConnection]]
    admin: str
    payer: str

    async def get(self, path: str, secret: str | None = None, **headers: str) -> httpx.Response:
        return await self.house.request("GET", path, headers=self._named(secret, headers))

    async def ask(self, secret: str | None = None, **body: Any) -> httpx.Response:
        given = {"model": "corea", "question": "12 + 7?", "key": self.payer, **body}
        return await self.house.request("POST", "/ui/api/ask", headers=self._named(secret, {}), json=given)

    def _named(self, secret: str | None, headers: dict[str, str]) -> dict[str, str]:
        return {"authorization": f"Bearer {secret or self.admin}", **headers}

    async def spent(self) -> float:
        with self.open() as connection:
            return sum(float(key.spent_usd) for key in list_keys(connection))


@pytest.fixture(params=["sqlite", "postgres"])
async def make(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    url = request.getfixturevalue("database") if request.param == "postgres" else None
    path, settings = None if url else tmp_path / "corea.db", GatewayStorage(url=url, retention_days=0)
    database = partial(open_database, settings, path)
    with database() as connection:
        keys = KeyAdmin(connection, "test")
        admin, payer = keys.create("root", role=Role.ADMIN)[1], keys.create("app")[1]
    storage = storage_at(path, settings, DecisionLog(settings), SessionAffinity(), durable=False)
    await storage.start()

    def desk(small: str = SURE, *, unavailable: dict[str, str] | None = None, opened: Any = database) -> Desk:
        house = make_house(small, accounts=storage.accounts)
        house.gateway.admin = AdminApi(database, lambda: ["corea"])

        async def reasons() -> dict[str, str]:
            return unavailable or {}

        cascades = {"corea": house.gateway.chat.routes.find("corea").cascade}
        house.gateway.ui = UiPages(History(opened), house.gateway.admin.check, lambda: cascades, reasons)
        return Desk(house, database, admin, payer)

    yield desk
    await storage.stop()


async def test_the_files_need_no_key_and_allow_no_script_but_their_own(make: Any) -> None:
    desk = make()
    for name in FILES:
        answer = await desk.house.request("GET", f"/ui{name}")
        assert answer.status_code == 200, name
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
        assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
        assert (policy["frame-ancestors"], policy["require-trusted-types-for"]) == ("'none'", "'script'")
        assert (answer.headers["x-content-type-options"], answer.headers["x-frame-options"]) == ("nosniff", "DENY")
        assert answer.headers["cache-control"] == "no-store"
    assert (await desk.house.request("GET", "/ui/")).text == (await desk.house.request("GET", "/ui")).text
    for path in ("/ui/page.html", "/ui/../pages.py", "/ui/%2e%2e/pages.py", "/ui/api", "/uix"):
        assert (await desk.house.request("GET", path)).status_code == 404, path


@pytest.mark.parametrize("name", API)
async def test_data_is_for_admin_keys_alone_and_never_cached(make: Any, name: str) -> None:
    desk = make()
    for secret in (desk.payer, f"{desk.admin}x", "x"):
        refused = await desk.get(f"/ui/api/{name}", secret)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (await desk.house.request("GET", f"/ui/api/{name}")).status_code == 401
    assert (
        await desk.get(f"/ui/api/{name}&x=1" if "?" in name else f"/ui/api/{name}?key={desk.admin}", "x")
    ).status_code == 401
    answer = await desk.get(f"/ui/api/{name}")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert (await desk.get(f"/ui/api/{name}", origin="https://evil.example")).status_code == 403
    assert (
        await desk.house.request("POST", f"/ui/api/{name}", headers={"authorization": f"Bearer {desk.admin}"})
    ).status_code == 405


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("summary?days=0", 400, "days: got '0', expected a number above 0, at most 3660."),
        ("summary?days=nan", 400, "days: got 'nan', expected"),
        ("summary?days=x", 400, "days: got 'x', expected"),
        ("summary?cascade=y", 400, "cascade: got 'y', expected one of corea."),
        ("thresholds", 400, "cascade: got None, expected a cascade of two stages."),
        ("nothing", 404, "/ui/api/nothing is not served."),
    ],
)
async def test_wrong_requests_are_one_line(make: Any, path: str, status: int, said: str) -> None:
    answer = await make().get(f"/ui/api/{path}")
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(said)


async def test_the_playground_shows_the_draft_the_decision_and_its_price(make: Any) -> None:
    desk = make(UNSURE)
    found = (await desk.ask()).json()
    small, large = found["steps"]
    assert (small["text"], small["confidence"], small["decision"]) == ("18", 0.2, "defer")
    assert small["threshold"] > small["confidence"]
    assert (large["stage"], found["corea"]["stage"], found["text"]) == ("large", "large", large["text"])
    assert found["corea"]["cost_usd"] == pytest.approx(small["cost_usd"] + large["cost_usd"])
    assert await desk.spent() == pytest.approx(found["corea"]["cost_usd"])
    alone = (await desk.ask(model="corea/large")).json()
    assert [step["stage"] for step in alone["steps"]] == ["large"]
    assert await desk.spent() == pytest.approx(found["corea"]["cost_usd"] + alone["corea"]["cost_usd"])


async def test_a_kept_answer_is_the_draft(make: Any) -> None:
    found = (await make(SURE).ask()).json()
    (small,) = found["steps"]
    assert (small["text"], small["decision"], found["text"], found["corea"]["stage"]) == ("19", "keep", "19", "small")


async def test_the_playground_spends_on_a_key_that_asks_and_on_no_other(make: Any) -> None:
    desk = make()
    for key in (desk.admin, None, "corea-1-2"):
        assert (await desk.ask(key=key)).status_code == 401
    assert (await desk.ask(desk.payer)).status_code == 401  # the key of the page itself
    assert await desk.spent() == 0
    for body, status in (
        ({"question": " "}, 400),
        ({"question": "x" * 20_001}, 400),
        ({"model": "y"}, 404),
        ({"z": 1}, 400),
    ):
        assert (await desk.ask(**body)).status_code == status
    assert desk.house.done == []


async def test_the_state_names_stages_breakers_and_reasons(make: Any) -> None:
    desk = make(unavailable={"large": "unreachable"})
    with desk.open() as connection:
        decide(connection, "a", kept=False)
    (cascade,) = (await desk.get("/ui/api/state")).json()["cascades"]
    small, large = cascade["stages"]
    assert (small["name"], small["checked"], small["unavailable"]) == ("small", False, None)
    assert (large["name"], large["checked"], large["unavailable"], large["calls"]) == ("large", True, "unreachable", 1)
    assert (cascade["threshold"], cascade["scored"]) == (0.8, False)


async def test_the_state_says_where_a_threshold_is_for_a_score_and_not_for_the_confidence(make: Any) -> None:
    desk = make()
    chat = desk.house.gateway.chat.routes.find("corea").cascade
    signal = CalibratedSignal(Verbalized(), IdentityMap())
    calibrated = replace(chat, stages=(replace(chat.stages[0], signal=signal), *chat.stages[1:]))
    pages = UiPages(desk.house.gateway.ui.history, desk.house.gateway.admin.check, lambda: {"corea": calibrated}, none)
    desk.house.gateway.ui = pages
    (cascade,) = (await desk.get("/ui/api/state")).json()["cascades"]
    assert (cascade["threshold"], cascade["scored"]) == (0.8, True)


async def none() -> dict[str, str]:
    return {}


async def test_while_the_database_is_away_the_page_gets_one_line(make: Any) -> None:
    def away() -> Any:
        raise DatabaseUnavailable("gateway.storage.url: cannot be used")

    desk = make(opened=away)
    for name in API:
        answer = await desk.get(f"/ui/api/{name}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "accounts_unavailable")


def test_the_page_asks_no_other_server_and_makes_no_markup_of_data() -> None:
    for file, _ in FILES.values():
        text = (STATIC / file).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\(", text), file
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|srcdoc", text
        ), file
        assert not re.search(r"localStorage|document\.cookie", text), file
    page = (STATIC / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)
    assert set(re.findall(r'(?:src|href)="(/[^"]*)"', page)) <= {f"/ui{name}" for name in FILES}
    imported = {
        name for file in STATIC.glob("*.js") for name in re.findall(r'from "\./(\w+\.js)"', file.read_text("utf-8"))
    }
    assert imported | {"app.js"} == {file.name for file in STATIC.glob("*.js")}
    ids = re.findall(r'\bid="([^"]+)"', page)
    used = {name for file in STATIC.glob("*.js") for name in re.findall(r'\$\("([^"]+)"\)', file.read_text("utf-8"))}
    assert (len(ids) == len(set(ids)), used - set(ids)) == (True, set())


TEXT = [  # text, background
    *[(text, back) for text in ("ink", "muted", "blue", "green", "orange") for back in ("card", "page")],
    ("green", "green-card"), ("ink", "green-card"), ("blue", "blue-soft"), ("orange", "orange-soft"),
    ("ink", "orange-soft"),
    ("ink", "blue-soft"), ("on-accent", "blue"),
]  # fmt: skip
SHAPES = [("blue", "card"), ("edge", "card"), ("edge", "page"), ("orange", "card"), ("green-soft", "card")]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_have_the_contrast_of_wcag_aa(theme: str) -> None:
    css = (STATIC / "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    if theme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark))
    for pairs, least in ((TEXT, 4.5), (SHAPES, 3.0)):
        low = {f"{a} on {b}": round(contrast(colours[a], colours[b]), 2) for a, b in pairs}
        assert {name: value for name, value in low.items() if value < least} == {}
    outside = css.replace(light, "").replace(dark, "")
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[ ;}])", outside) == [
        "#0008"
    ]  # no colour but those checked; a dialog's backdrop


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, by WCAG 2.2."""
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
