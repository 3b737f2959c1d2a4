"""The Responses API's translation: requests to chat requests, chat answers and chunks to responses and their events."""

from typing import Any

import pytest

from corea.gateway.apis.responses import ResponsesRequest, in_its_words, responses_request
from corea.gateway.apis.responses_stream import ResponseAnswers
from corea.gateway.errors import GatewayError, bad_field

TOOL = {"type": "function", "name": "add", "description": "Adds.", "parameters": {"type": "object"}, "strict": True}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "19"}


def asked(**fields: Any) -> ResponsesRequest:
    return responses_request({"model": "corea", "input": "12 + 7?", **fields})


def messages(*items: Any, **fields: Any) -> list[dict[str, Any]]:
    return asked(input=list(items), **fields).chat["messages"]


def test_a_text_is_one_message_of_the_user_behind_the_instructions() -> None:
    assert asked().chat == {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}]}
    assert asked(instructions="Be kind.").chat["messages"][0] == {"role": "system", "content": "Be kind."}


def test_instructions_and_the_first_developer_messages_are_one_system_message() -> None:
    developer = {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "No network."}]}
    user = {"role": "user", "content": "12 + 7?"}
    assert messages(developer, user, developer, instructions="Be kind.") == [
        {"role": "system", "content": "Be kind.\n\nNo network."},
        user,
        {"role": "system", "content": "No network."},
    ]


def test_a_turn_of_the_model_is_one_message_with_its_reasoning_text_and_calls() -> None:
    reasoning = {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I add."}]}
    other = {**CALL, "call_id": "c2", "extra_content": {"google": {"thought_signature": "s"}}}
    last = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages({"role": "user", "content": "12?"}, reasoning, said, CALL, other, OUTPUT, last) == [
        {"role": "user", "content": "12?"},
        {
            "role": "assistant",
            "content": "I add.",
            "reasoning_content": "hm",
            "tool_calls": [
                CHAT_CALL,
                {**CHAT_CALL, "id": "c2", "extra_content": {"google": {"thought_signature": "s"}}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "19"},
        {"role": "assistant", "content": None, "refusal": "No."},
    ]


def test_content_in_parts_keeps_images_files_sound_and_unknown_fields() -> None:
    parts = [
        {"type": "input_text", "text": "see", "cache_control": {"type": "e"}},
        {"type": "input_image", "image_url": "data:,", "detail": "low"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:,"},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
    ]
    assert messages({"role": "user", "content": parts})[0]["content"] == [
        {"type": "text", "text": "see", "cache_control": {"type": "e"}},
        {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:,"}},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
    ]


FIELDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"max_output_tokens": 9, "temperature": 0.3, "top_p": 0.9, "top_k": 5},
     {"max_tokens": 9, "temperature": 0.3, "top_p": 0.9, "top_k": 5}),
    ({"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"}},
     {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
      "verbosity": "low"}),
    ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
    ({"text": {"format": {"type": "text"}}}, {}),
    ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
    ({"include": ["message.output_text.logprobs"], "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
    ({"store": True, "metadata": {"a": "b"}, "truncation": "auto", "prompt_cache_key": "k", "background": False,
      "previous_response_id": None, "client_metadata": {}}, {}),
    ({"corea": {"threshold": 0.9}, "user": "u", "safety_identifier": "s", "service_tier": "flex"},
     {"corea": {"threshold": 0.9}, "user": "u", "safety_identifier": "s", "service_tier": "flex"}),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "add"}, "parallel_tool_calls": False},
     {"tools": [{"type": "function", "function": {k: v for k, v in TOOL.items() if k != "type"}}],
      "tool_choice": {"type": "function", "function": {"name": "add"}}, "parallel_tool_calls": False}),
    ({"tools": [{"type": "web_search"}], "tool_choice": "auto", "parallel_tool_calls": True}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "chat"), FIELDS, ids=lambda fields: "+".join(fields))
def test_fields_of_a_request(fields: dict[str, Any], chat: dict[str, Any]) -> None:
    plain = {"model": "corea", "messages": [{"role": "user", "content": "12 + 7?"}]}
    assert asked(**fields).chat == {**plain, **chat}


def test_tools_that_run_elsewhere_are_named_and_not_offered() -> None:
    found = asked(tools=[{"type": "web_search"}, TOOL, {"type": "custom", "name": "apply_patch"}])
    assert (found.dropped, found.tools) == (("tools.web_search", "tools.custom"), [TOOL])


ONLY: list[tuple[dict[str, Any], str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"input": [{"type": "item_reference", "id": "i"}]}, "input[0]"),
    ({"input": [{"type": "computer_call", "id": "i"}]}, "input[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "video"}]}]}, "input[0].content[0]"),
    ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), ONLY, ids=lambda given: given if isinstance(given, str) else "")
def test_what_no_chat_can_carry_is_named_with_its_reason(fields: dict[str, Any], param: str) -> None:
    assert list(asked(**fields).only) == [param]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
    ({"input": [{"id": "i"}]}, "input[0].type"),
    ({"input": [{"role": "user", "content": 5}]}, "input[0]"),
    ({"input": [{"role": "user", "content": [5]}]}, "input[0].content[0]"),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "n"}]}, "input[0].arguments"),
    ({"input": []}, "input"),
    ({"input": None}, "input"),
    ({"input": [5]}, "input"),
    ({"model": ""}, "model"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"tools": {}}, "tools"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), WRONG, ids=lambda given: given if isinstance(given, str) else "")
def test_a_wrong_value_is_refused_with_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        asked(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.message.startswith(param)


def test_an_error_about_the_chat_request_names_the_field_that_the_client_sent() -> None:
    def told(param: str, got: object) -> tuple[str, str]:
        found = in_its_words(bad_field(param, got, "more").body()["error"])
        return found["param"], found["message"]

    assert told("max_tokens", 0) == ("max_output_tokens", "max_output_tokens: got 0, expected more.")
    assert told("messages[2].content", 0) == ("input", "input: got 0, expected more.")
    assert told("temperature", 3) == ("temperature", "temperature: got 3, expected more.")


def test_a_session_in_the_metadata_is_the_conversations_and_a_cache_key_is_not() -> None:
    assert asked(metadata={"session_id": "s"}).chat["corea"] == {"session": "s"}
    assert "corea" not in asked(prompt_cache_key="k", metadata={"a": "b"}).chat


USAGE = {
    "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}  # fmt: skip


def answer(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """A whole chat answer."""
    choices = [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", **choice}]
    head = {"id": "chatcmpl-t", "object": "chat.completion", "created": 5, "model": "corea"}
    return {**head, "choices": choices, "usage": USAGE, "corea": {"stage": "large"}}


def test_a_whole_answer_is_a_response() -> None:
    found = ResponseAnswers(asked(instructions="Be kind.", max_output_tokens=9)).whole(answer({"content": "19"}))
    part = {"type": "output_text", "text": "19", "annotations": [], "logprobs": []}
    assert found == {
        "id": "resp_t", "object": "response", "created_at": 5, "status": "completed", "background": False,
        "error": None, "incomplete_details": None, "model": "corea",
        "output": [{"id": "msg_t_0", "type": "message", "status": "completed", "role": "assistant", "content": [part]}],
        "previous_response_id": None, "store": False, "instructions": "Be kind.", "max_output_tokens": 9,
        "parallel_tool_calls": True, "temperature": None, "tool_choice": "auto", "top_p": None,
        "reasoning": {"effort": None, "summary": None}, "user": None, "text": {"format": {"type": "text"}},
        "truncation": "disabled", "metadata": {}, "tools": [], "corea": {"stage": "large"},
        "usage": {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
                  "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 8},
    }  # fmt: skip


def items(message: dict[str, Any], *, finish: str = "stop", **fields: Any) -> tuple[Any, Any]:
    """Items of a response, and what else is about its end."""
    found = ResponseAnswers(asked(**fields)).whole(answer(message, finish_reason=finish))
    return found["output"], (found["status"], found["incomplete_details"])


def test_reasoning_a_refusal_annotations_and_calls_are_items() -> None:
    cited = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2}}
    output, end = items({"content": "19", "reasoning": "hm", "annotations": [cited], "tool_calls": [CHAT_CALL]})
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert output[1]["content"][0]["annotations"] == [{"type": "url_citation", **cited["url_citation"]}]  # type: ignore[dict-item]
    assert output[2] == {**CALL, "id": "fc_t_2", "status": "completed"}
    assert end == ("completed", None)
    refused, _ = items({"content": None, "refusal": "No."})
    assert refused[0]["content"] == [{"type": "refusal", "refusal": "No."}]
    thought, _ = items({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                                    {"type": "text", "text": "19"}]})  # fmt: skip
    assert (thought[0]["content"][0]["text"], thought[1]["content"][0]["text"]) == ("hm", "19")


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_is_cut_short_is_incomplete(finish: str, reason: str) -> None:
    output, end = items({"content": "nine"}, finish=finish)
    assert (output[0]["status"], end) == ("incomplete", ("incomplete", {"reason": reason}))


def test_an_empty_answer_is_one_message_without_text() -> None:
    output, _ = items({"content": ""})
    assert output == [{"id": "msg_t_0", "type": "message", "status": "completed", "role": "assistant", "content": []}]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_comes_back_under_its_own_name_if_the_client_asked_for_its_encrypted_form(name: str) -> None:
    fields = {name: "hm", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}
    output, _ = items({"content": None, "tool_calls": [CHAT_CALL], **fields}, include=["reasoning.encrypted_content"])
    unread = {"type": "reasoning", "summary": [], "encrypted_content": output[0]["encrypted_content"]}
    assert messages(unread, output[1], OUTPUT)[0] == {
        "role": "assistant", "content": None, "tool_calls": [CHAT_CALL], **fields
    }  # fmt: skip
    foreign = {**unread, "encrypted_content": "gAAAA"}
    assert messages(foreign, output[1], OUTPUT)[0]["tool_calls"] == [CHAT_CALL]
    assert name not in messages(foreign, output[1], OUTPUT)[0]


def stream_of(request: ResponsesRequest, *chunks: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream of these chunks."""
    answers = ResponseAnswers(request)
    return numbered([*(event for chunk in chunks for event in answers.events(chunk)), *answers.end()])


def numbered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events, which have to be numbered from 0."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-t",
        "created": 5,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }


def piece(arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"arguments": arguments}, **more}]}


def test_the_events_of_reasoning_text_and_a_call_in_their_order() -> None:
    begun = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": ""}}
    found = stream_of(
        asked(stream=True),
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "h"}), chunk({"reasoning_content": "m"}),
        chunk({"content": "I "}), chunk({"content": "add."}),
        chunk({"tool_calls": [{"index": 0, **begun}]}), chunk(piece('{"a": ')), chunk(piece("1}")),
        chunk({}, "tool_calls", corea={"stage": "large"}), {"choices": [], "usage": USAGE},
    )  # fmt: skip
    short = [event["type"].removeprefix("response.") for event in found]
    part = ["content_part.added", "x.delta", "x.delta", "x.done", "content_part.done"]
    assert short == [
        "created", "in_progress",
        "output_item.added", *(name.replace("x", "reasoning_text") for name in part), "output_item.done",
        "output_item.added", *(name.replace("x", "output_text") for name in part), "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [e["output_index"] for e in found if "output_index" in e] == [0] * 7 + [1] * 7 + [2] * 5
    assert [e["delta"] for e in found if "delta" in e] == ["h", "m", "I ", "add.", '{"a": ', "1}"]
    assert found[2]["item"]["status"] == "in_progress"
    assert found[0]["response"]["output"] == []
    last = found[-1]["response"]
    assert (last["usage"]["total_tokens"], last["corea"]) == (8, {"stage": "large"})
    assert last["output"] == [event["item"] for event in found if event["type"] == "response.output_item.done"]
    whole = {"content": "I add.", "reasoning_content": "hm", "tool_calls": [CHAT_CALL]}
    assert last == ResponseAnswers(asked(stream=True)).whole(answer(whole, finish_reason="tool_calls"))


def test_two_calls_a_later_text_and_a_refusal_in_one_message() -> None:
    first, second = ({"tool_calls": [{"index": i, **CHAT_CALL, "id": f"c{i}"}]} for i in (0, 1))
    found = stream_of(asked(), chunk(first), chunk(second), chunk({"content": "19"}), chunk({"refusal": "No."}))
    output = found[-1]["response"]["output"]
    assert [(item["type"], item.get("call_id")) for item in output] == [
        ("function_call", "c0"), ("function_call", "c1"), ("message", None)
    ]  # fmt: skip
    assert [part["type"] for part in output[2]["content"]] == ["output_text", "refusal"]
    assert [e["content_index"] for e in found if e["type"] == "response.content_part.done"] == [0, 1]


def test_an_error_in_a_stream_is_a_failed_response_with_the_code_that_clients_know() -> None:
    for status, kind, code, given in (
        (400, "invalid_request_error", "context_length_exceeded", "context_length_exceeded"),
        (429, "insufficient_quota", "insufficient_quota", "insufficient_quota"),
        (429, "rate_limit_error", "upstream_rate_limited", "rate_limit_exceeded"),
        (502, "api_error", "upstream_error", "server_error"),
    ):
        error = GatewayError(status, "It broke.", kind, code).body()["error"]
        for begun in (True, False):
            answers = ResponseAnswers(asked())
            found = answers.events(chunk({"content": "nine"})) if begun else []
            found = numbered([*found, *answers.failed(error, len(found))])
            assert [event["type"] for event in found[:2]] == ["response.created", "response.in_progress"]
            last = found[-1]
            assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
            assert (last["response"]["error"]["code"], last["response"]["error"]["message"]) == (given, "It broke.")
            assert len(last["response"]["output"]) == begun
        assert ResponseAnswers(asked()).failed(error, 5) == [  # after the events of a server that speaks the API
            {"type": "error", "sequence_number": 5, "code": given, "message": "It broke.", "param": None}
        ]
