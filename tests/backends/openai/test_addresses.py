"""Addresses are checked whole where they are set, in one line that names the key."""

import json
from typing import Any

import pytest

from corea.backends.openai.addresses import split_url
from corea.backends.openai.http import Http
from corea.backends.openai.settings import OpenAISettings
from corea.build import build
from corea.config import parse_config
from corea.errors import ConfigError

BAD = [
    "http://127.0.0.1:99999/v1", "http://localhost:65536/v1", "http://localhost:abc/v1", "http://localhost:-1/v1",
    "http://localhost:0/v1", "http://localhost:/v1", "http://localhost:80:80/v1", "http://[::1", "http://[::1/v1",
    "http://::1]/v1", "http://[::g]:80/v1", "http://[127.0.0.1]/v1", "http://::1/v1", "http://", "http:///v1",
    "http://:8000/v1", "localhost:8000/v1", "//localhost/v1", "ftp://x.example/v1", "ws://x.example/v1", "", " ",
    " http://x.example/v1", "http://x.example/v1\n", "http://x.exam ple/v1", "http://x.example/a b", "http://x\t.example",
    "http://a..example/v1", "http://.example/v1", f"http://{'a' * 64}.example/v1", f"http://{'a.' * 130}example/v1",
    "http:\\\\localhost\\v1", "http://localhost:8000\\v1", "http://{host}/v1", "<http://x.example/v1>", "http://$HOST/v1",
    "http:/localhost/v1", "http//localhost/v1", "http://localhost:8000,8001/v1", "http://..../v1", "http://loc\u0000alhost/v1",
]  # fmt: skip
GOOD = [
    "http://localhost:8000/v1", "https://api.openai.com/v1/", "http://[::1]:8000/v1", "http://[fe80::1%25eth0]/v1",
    "HTTP://LOCALHOST:1/v1", "http://10.0.0.1:65535", "http://my_service:80/v1", "https://bücher.example/v1",
    "http://host.docker.internal:11434/v1", "https://x.example./v1", "http://a:1/v1/%7Euser/@me",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
@pytest.mark.parametrize("name", ["base_url", "proxy"])
def test_an_address_that_cannot_be_is_refused_when_it_is_read(name: str, url: str) -> None:
    given: dict[str, Any] = {"model": "m", name: url}
    with pytest.raises(ConfigError) as caught:
        OpenAISettings(**given)
    said = str(caught.value)
    assert said.startswith(f"{name}: got ")
    assert "expected a URL such as http://localhost:8000/v1" in said
    assert "\n" not in said
    assert caught.value.__cause__ is None
    table = {"kind": "openai", **given}
    with pytest.raises(ConfigError, match=rf"^config: stages.s.backend: {name}: got "):
        build(parse_config({"stages": {"s": {"backend": table}}}), need_prices=False)


@pytest.mark.parametrize("url", GOOD)
def test_an_address_that_can_be_is_taken_as_it_is(url: str) -> None:
    settings = OpenAISettings(model="m", base_url=url)
    assert settings.base_url == url
    assert Http(settings).settings is settings
    assert split_url("base_url", url).hostname


@pytest.mark.parametrize("url", ["http://u:pw@proxy.example:3128", "http://proxy.example:3128"])
def test_a_proxy_may_have_a_user_that_no_repr_shows(url: str) -> None:
    settings = OpenAISettings(model="m", proxy=url)
    assert settings.proxy == url
    assert "pw" not in repr(settings)
    assert json.dumps(settings.proxy) == json.dumps(url)
