"""`corea run` with a stage that is asked by a batch API, and `corea status`."""

from tests.cli.conftest import Command
from tests.cli.test_run import line_with, questions
from tests.fakes.batches import running_batches


def test_it_leaves_shows_how_far_it_is_and_comes_back(corea: Command) -> None:
    with running_batches(lambda text: "<answer>7</answer>") as server:
        run = [
            "run", questions(4), "-o", "a.jsonl", "--set", "stages.small.threshold=0.95",
            "--set", f'stages.large.backend={{kind = "openai", model = "large", base_url = "{server.base_url}"}}',
            "--set", "stages.large.batch=true", "--set", "prices.large.batch=0.5",
            "--set", "run.batch_poll_seconds=0.01",
        ]  # fmt: skip
        ran = corea(*run, "--no-wait")
        assert ran.code == 6
        assert line_with(ran, "waiting for a batch") == (
            "waiting for a batch: 4 questions, 1 under way; start the same command again, or see `corea status a.jsonl`"
        )
        shown = corea("status", "a.jsonl")
        assert shown.out.splitlines() == [
            "0 of 4 questions done, 4 wait for a batch",
            "batch batch-0 of stage large: created, 4 questions",
        ]
        assert corea("status", "a.jsonl", "--json").json["batches"][0]["id"] == "batch-0"
        many = corea(*run, "--processes", "2")
        assert many.code == 2
        assert "--processes, --engine: got one while stage large is asked by batches" in many.err
        ended = corea(*run, "--json")
        assert (ended.code, ended.json["done"], ended.json["waiting"], server.created) == (0, 4, 0, 1)
    assert corea("status", "a.jsonl").out == "4 of 4 questions done, 0 wait for a batch\n"


def test_a_server_that_refuses_ends_the_run_in_one_line(corea: Command) -> None:
    with running_batches(lambda text: "7") as server:
        ran = corea(
            "run", questions(2), "-o", "a.jsonl", "--set", "stages.small.threshold=0.95", "--set",
            f'stages.large.backend={{kind = "openai", model = "large", base_url = "{server.base_url}/no"}}',
            "--set", "stages.large.batch=live", "--set", "prices.large.batch=0.5",
        )  # fmt: skip
    assert ran.code == 4
    assert "gave up: 0 of 2 questions done" in ran.out
    assert "HTTP 404" in line_with(ran, "last error: large at http://127.0.0.1")
