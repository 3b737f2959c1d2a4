"""The table of fields in docs/gateway.md is what the gateway does."""

from typing import get_type_hints

from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, completion_create_params
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from tests.gateway.chat.fields_table import CHOICE, FILE, MESSAGE, OUTSIDE, REQUEST, table


async def test_the_table_of_fields_is_what_two_scripted_servers_and_a_client_see() -> None:
    measured = (await table()).splitlines()
    written = FILE.read_text().splitlines()
    differing = [line for line in measured if line not in written] + [line for line in written if line not in measured]
    assert differing == [], "run `python -m tests.gateway.chat.fields_table`, and see that the change is meant"


def test_every_field_that_the_openai_package_sends_has_a_row() -> None:
    fields = get_type_hints(completion_create_params.CompletionCreateParamsBase)
    assert fields.keys() - {name.partition(" ")[0] for name in REQUEST} == {"model"}


def test_every_field_that_the_openai_package_reads_has_a_row() -> None:
    around = (ChatCompletion.model_fields.keys() | ChatCompletionChunk.model_fields.keys()) - {"choices", "object"}
    message = (ChatCompletionMessage.model_fields.keys() | ChoiceDelta.model_fields.keys()) - {"role", "content"}
    assert around - OUTSIDE.keys() == set()
    assert Choice.model_fields.keys() - CHOICE.keys() == {"index", "message"}
    assert message - MESSAGE.keys() == set()
