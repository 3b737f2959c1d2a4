"""Operation: `settings`, `metrics` and `prometheus`, `cache` of answers, `affinity` of sessions, `openapi`."""
