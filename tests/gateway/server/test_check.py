"""`corea check` reads all of [gateway], and refuses what `corea serve` would refuse, in the same words."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gateway import upstream, write_config
from tests.fakes.server import Fail, Say
from tests.gateway.server.test_serve import write


def corea(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "corea.cli.main", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def would_start(folder: Path) -> dict[str, Any]:
    checks = json.loads(corea(folder, "check", "--json").stdout)["checks"]
    (found,) = [check for check in checks if check["check"] == "would start"]
    return found


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ("prot = 8000", "gateway: key: got 'prot'"),
        ('host = "0.0.0.0"', "gateway.host: got '0.0.0.0' without any API key"),
        ('passthrough = {gpt = "huge"}', "gateway.passthrough.gpt: got 'huge'"),
        ('passthrough = {corea = "large"}', "gateway.passthrough.corea: got the name of a cascade"),
        ('storage.redact = "nowhere:nothing"', "gateway.storage.redact"),
        ('policies.trial.cascades = ["other"]', "gateway.policies.trial.cascades: got 'other'"),
        ('policies.trial.max_token = 3', "Did you mean 'max_tokens'"),
    ],
)  # fmt: skip
def test_what_serve_refuses_check_refuses_in_the_same_words(tmp_path: Path, gateway: str, said: str) -> None:
    write(tmp_path, gateway=gateway)
    found, refused = would_start(tmp_path), corea(tmp_path, "serve", "--port", "0")
    assert (found["ok"], refused.returncode) == (False, 2)
    assert said in found["seen"]
    assert found["seen"] in refused.stderr


def test_a_gateway_that_would_start_says_its_warnings(tmp_path: Path) -> None:
    write(tmp_path, gateway="cache.entries = 10")
    found = would_start(tmp_path)
    assert found["ok"]
    assert "gateway.cache: can never hit at corea" in found["seen"]


def test_each_server_of_a_model_is_named_and_a_500_is_not_reached(tmp_path: Path) -> None:
    with upstream(Fail(500)) as down, upstream(Say("19")) as up:
        write_config(tmp_path, f'{down.base_url}", "{up.base_url}')
        path = tmp_path / "corea.toml"
        path.write_text(re.sub(r"base_url = (.*)", r"base_url = [\1]", path.read_text()))
        checks = json.loads(corea(tmp_path, "check", "--json").stdout)["checks"]
    reached = {check["where"]: check["ok"] for check in checks if check["check"] == "is reached"}
    assert reached == {
        f"corea/{stage} at {server.base_url}": server is up for stage in ("small", "large") for server in (down, up)
    }
    assert all("HTTP 500" in check["seen"] for check in checks if check["check"] == "is reached" and not check["ok"])
