"""Labels: who may give them, what they are, and what they test."""

import asyncio
from typing import Any

import pytest
from tests.gateway.audit.conftest import AuditHouse, Draws, Make, watched

from corea.calibrate.monitor import Detector
from corea.gateway.billing.auth import Admission, OpenAccounts, Principal, SpendRequest
from corea.gateway.billing.keys import Role, create_key
from corea.gateway.errors import GatewayError
from corea.gateway.server.admin import AdminApi

SURE = "<answer>19</answer><confidence>0.9</confidence>"
REVIEW = {"source": "review"}


class NamedPrincipal(Principal, frozen=True, kw_only=True):
    name: str


class Keys(OpenAccounts):
    """The key's name is the secret, and an admin key is none of them; requests of the rate limit are counted."""

    def __init__(self) -> None:
        self.counted: list[str | None] = []

    async def count(self, principal: Principal) -> None:
        self.counted.append(principal.id)

    def identify(self, secret: str | None) -> Principal:
        if secret is not None and secret.startswith("corea-"):
            raise GatewayError(401, "unknown", "authentication_error", "invalid_api_key")
        return NamedPrincipal(id=f"id-{secret}", name=secret or "")

    async def admit(self, principal: Principal, request: SpendRequest) -> Admission:
        return Admission(key_id=principal.id, request=request)


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ({"verdict": "right"}, 1.0),
        ({"verdict": "wrong"}, 0.0),
        ({"score": 0.7}, 0.7),
        ({"answer": "19.0"}, 1.0),
        ({"answer": "It is <answer>20</answer>"}, 0.0),
    ],
)
async def test_a_label_is_a_verdict_a_score_or_the_right_answer(
    audited: Make, given: dict[str, Any], served: float
) -> None:
    house = await audited(SURE, "<answer>20</answer>")
    trace = await house.ask()
    said = (await house.feedback(trace, **given)).json()
    assert (said["served"], said["source"], said["changed"]) == (served, "user", True)
    assert said["reference"] == ({"19.0": 0.0, "It is <answer>20</answer>": 1.0}.get(given.get("answer", "")))
    (label,) = await house.rows("labels")
    assert (label["served"], label["sampled"], label["cascade"]) == (served, 0, "corea")
    assert "no promise" in said["use"]


async def test_the_same_label_again_changes_nothing_and_another_one_replaces_it(audited: Make) -> None:
    house = await audited(SURE)
    trace = await house.ask()
    said = [(await house.feedback(trace, verdict=v)).json()["changed"] for v in ("right", "right", "wrong", "wrong")]
    assert said == [True, False, True, False]
    await house.feedback(trace, verdict="right", source="someone.else")
    assert [(row["source"], row["served"]) for row in await house.rows("labels")] == [
        ("someone.else", 1.0), ("user", 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "verdict: got None, expected one of verdict, score, answer, and only one."),
        ({"verdict": "right", "score": 1}, "verdict: got 'verdict, score', expected one of"),
        ({"verdict": "good"}, "verdict: got 'good', expected right or wrong."),
        ({"score": 1.5}, "score: got 1.5, expected `float` <= 1"),
        ({"score": "high"}, "score: got 'high', expected `float | null`."),
        ({"answer": ""}, "answer: got '', expected `str` of length >= 1."),
        ({"verdict": "right", "source": "a b"}, "source: got 'a b', expected `str` matching regex"),
        ({"verdict": "right", "stars": 5}, "stars: got 5, expected one of the fields trace_id, verdict"),
        ({"trace_id": 7, "verdict": "right"}, "trace_id: got 7, expected `str`."),
        ({"trace_id": "ffff", "verdict": "right"}, "trace_id: got 'ffff', expected one of this key's stored answers."),
    ],
)
async def test_bad_labels_are_one_line(audited: Make, given: dict[str, Any], said: str) -> None:
    house = await audited(SURE)
    trace = (await house.ask()).headers["x-corea-trace-id"]
    response = await house.house.request("POST", "/v1/feedback", json={"trace_id": trace, **given})
    assert response.status_code in (400, 404)
    message = response.json()["error"]["message"]
    assert message.startswith(said)
    assert "\n" not in message
    assert await house.rows("labels") == []


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[1]", 400), (b"{}", 400), (b"\xff", 400)])
async def test_bad_bodies_are_one_line(audited: Make, body: bytes, status: int) -> None:
    house = await audited(SURE)
    response = await house.house.request("POST", "/v1/feedback", content=body)
    assert (response.status_code, "\n" in response.json()["error"]["message"]) == (status, False)
    assert (await house.get("/v1/feedback")).status_code == 405
    assert (await house.house.request("POST", "/v1/audit", content=b"{}")).status_code == 405


async def test_a_key_labels_its_own_traces_and_an_administrator_all(audited: Make) -> None:
    keys = Keys()
    house = await audited(SURE, accounts=keys)
    house.house.gateway.admin = AdminApi(house.open, lambda: ["corea"])

    def make() -> str:
        with house.open() as connection:
            return create_key(connection, "ops", role=Role.ADMIN)[1]

    ops = await asyncio.to_thread(make)
    trace = (await house.ask(headers=bearer("alice"))).headers["x-corea-trace-id"]

    async def label(key: str, **given: Any) -> Any:
        body = {"trace_id": trace, "verdict": "right", **given}
        return await house.house.request("POST", "/v1/feedback", headers=bearer(key), json=body)

    assert (await label("alice")).status_code == 200
    refused = await label("bob")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "trace_not_found")
    assert (await label(ops)).status_code == 200
    reviewing = await label("alice", source="review")
    assert (reviewing.status_code, reviewing.json()["error"]["code"]) == (403, "admin_only")
    assert (await label(ops, source="review")).json()["use"].startswith("tests the promise")
    assert (await house.get("/v1/audit", headers=bearer("alice"))).status_code == 403
    assert (await house.get("/v1/audit", headers=bearer(f"{ops}x"))).status_code == 401
    assert (await house.get("/v1/audit", headers=bearer(ops))).status_code == 200
    assert keys.counted == [f"id-{name}" for name in ("alice", "bob", "alice", "alice")]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_an_older_answer_takes_a_verdict_and_is_graded_where_its_text_is_stored(audited: Make) -> None:
    for storage, status in (({}, 409), ({"store_text": True}, 200)):
        name = f"{status}.db"
        house = await audited(SURE, "<answer>20</answer>", storage=storage, name=name)
        trace = (await house.ask()).headers["x-corea-trace-id"]
        await house.end()
        again = await audited(SURE, storage=storage, name=name)
        response = await again.feedback(trace, answer="20")
        assert response.status_code == status
        if status == 200:
            assert (response.json()["served"], response.json()["reference"]) == (0.0, 1.0)
        else:
            assert "expected a verdict or a score" in response.json()["error"]["message"]
        assert (await again.feedback(trace, verdict="wrong", source="other")).status_code == 200


async def labelled(house: AuditHouse) -> dict[str, Any]:
    (found,) = (await house.get("/v1/audit")).json()["cascades"]
    return next(each for each in found["sources"] if each["source"] == "labelled")


async def test_reviewers_labels_of_drawn_answers_test_the_promise(audited: Make) -> None:
    """Differing answers wait for a label; equal ones lose nothing. The bound is 2 points over half of the questions."""
    house = await audited([SURE] * 3, ["<answer>20</answer>", "<answer>19</answer>", "<answer>21</answer>"],
                          monitor=watched())  # fmt: skip
    first, same, third = [await house.ask() for _ in range(3)]
    assert ((await labelled(house))["n"], (await labelled(house))["rate"]) == (1, 0.0)
    assert (await house.feedback(first, verdict="wrong", **REVIEW)).json()["use"].startswith("tests the promise")
    assert (await labelled(house))["n"] == 1  # the last stage may be wrong too: not settled
    await house.feedback(first, answer="20", **REVIEW)
    await house.feedback(first, answer="20", **REVIEW)
    await house.feedback(third, verdict="right", **REVIEW)  # then the other one is wrong: a gain
    await house.feedback(same, verdict="wrong", **REVIEW)  # equal answers: counted already
    alone = Detector(name="labelled", high=0.04, least=-1.0, every=200.0)
    for gap in (0.0, 1.0, -1.0):
        alone.observe(gap)
    seen = await labelled(house)
    assert (seen["n"], seen["rate"], seen["high"]) == (3, 0.0, 0.04)
    assert seen["evidence"] == pytest.approx(alone.evidence)


async def test_a_label_that_comes_before_the_audit_ends_counts_once(audited: Make) -> None:
    house = await audited(SURE, "<answer>20</answer>", monitor=watched())
    response = await house.house.post()
    while not await house.rows():
        await asyncio.sleep(0)
    await house.feedback(response, verdict="wrong", reference_verdict="right", **REVIEW)
    await house.settle()
    assert ((await labelled(house))["n"], (await labelled(house))["rate"]) == (1, 1.0)


async def test_users_labels_and_labels_of_others_than_drawn_answers_test_nothing(audited: Make) -> None:
    house = await audited(SURE, "<answer>20</answer>", monitor=watched(), draws=Draws(0.1, 0.9), audit={"share": 0.5})
    drawn, other = [await house.ask() for _ in range(2)]
    await house.feedback(drawn, verdict="wrong", reference_verdict="right")
    said = await house.feedback(other, verdict="wrong", reference_verdict="right", **REVIEW)
    assert "no promise" in said.json()["use"]
    assert (await labelled(house))["n"] == 0
