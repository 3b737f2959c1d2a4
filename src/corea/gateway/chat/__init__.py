"""A chat request from its bytes to its answer.

`request` (parsing), `routing` (model name to cascade) with `capabilities` (stages that can take it), `service`
(admission, asking, booking) with `request_state` and `cancellation`, `reply` (bodies and headers), `stream`
(server-sent events) with `tag_filter` (text without tags).
"""
