"""The table of fields in docs/gateway.md is what the gateway does."""

from tests.gateway.chat.fields_table import FILE, table


async def test_the_table_of_fields_is_what_two_scripted_servers_and_a_client_see() -> None:
    measured = (await table()).splitlines()
    written = FILE.read_text().splitlines()
    differing = [line for line in measured if line not in written] + [line for line in written if line not in measured]
    assert differing == [], "run `python -m tests.gateway.chat.fields_table`, and see that the change is meant"
