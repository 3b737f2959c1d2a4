"""Operation: `settings`, `metrics`, `cache` of answers, `affinity` of sessions, `openapi`."""
