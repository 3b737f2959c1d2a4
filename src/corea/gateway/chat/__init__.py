"""A chat request from its bytes to its answer.

`request` (parsing), `routing` (model name to cascade), `capabilities` (stages that can take it), `service` (asking, time
limits, booking), `request_state`, `cancellation`, `reply` (bodies and headers), `stream` (server-sent events),
`tag_filter` (streamed text without tags).
"""
