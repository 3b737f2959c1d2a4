"""The tables of the Messages API's fields in docs/apis.md are what the gateway does."""

from typing import get_type_hints

import pytest
from tests.gateway.apis.messages_table import FILE, REQUEST, RESPONSE, table


async def test_the_tables_are_what_scripted_servers_and_a_client_see() -> None:
    measured, written = (await table()).splitlines(), FILE.read_text().splitlines()
    differing = [line for line in measured if line not in written] + [line for line in written if line not in measured]
    assert differing == [], "run `python -m tests.gateway.apis.messages_table`, and see that the change is meant"


def test_every_field_that_the_anthropic_package_sends_has_a_row() -> None:
    pytest.importorskip("anthropic")
    from anthropic.types import message_create_params as plain
    from anthropic.types.beta import message_create_params as beta

    fields = {**get_type_hints(plain.MessageCreateParamsBase), **get_type_hints(beta.MessageCreateParamsBase)}
    rows = {name.partition(".")[0] for name in REQUEST}
    assert fields.keys() - rows == {"model", "messages"}  # the latter as `content`


def test_every_field_that_the_anthropic_package_reads_has_a_row() -> None:
    pytest.importorskip("anthropic")
    from anthropic.types import Message
    from anthropic.types.beta import BetaMessage

    assert Message.model_fields.keys() | BetaMessage.model_fields.keys() == RESPONSE.keys()
