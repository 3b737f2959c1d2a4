"""The table of the Responses API's fields in docs/apis.md is what the gateway does."""

from typing import get_type_hints

from openai.types.responses import Response, response_create_params
from tests.gateway.apis.responses_table import FILE, REQUEST, RESPONSE, table


async def test_the_table_of_fields_is_what_two_scripted_servers_and_a_client_see() -> None:
    measured, written = (await table()).splitlines(), FILE.read_text().splitlines()
    differing = [line for line in measured if line not in written] + [line for line in written if line not in measured]
    assert differing == [], "run `python -m tests.gateway.apis.responses_table`, and see that the change is meant"


def test_every_field_that_the_openai_package_sends_has_a_row() -> None:
    fields = get_type_hints(response_create_params.ResponseCreateParamsBase)
    rows = {name.partition(".")[0].partition(" ")[0] for name in REQUEST}
    assert fields.keys() - rows == {"model"}


def test_every_field_that_the_openai_package_reads_has_a_row() -> None:
    assert Response.model_fields.keys() == RESPONSE.keys()
