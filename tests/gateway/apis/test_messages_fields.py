"""The tables of the Messages API's fields in docs/apis.md are what the gateway does."""

from tests.gateway.apis.messages_table import FILE, table


async def test_the_tables_are_what_scripted_servers_and_a_client_see() -> None:
    measured, written = (await table()).splitlines(), FILE.read_text().splitlines()
    differing = [line for line in measured if line not in written] + [line for line in written if line not in measured]
    assert differing == [], "run `python -m tests.gateway.apis.messages_table`, and see that the change is meant"
