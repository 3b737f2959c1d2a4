"""How many examples a property test draws: the same few by default, many more with `make fuzz`."""

from typing import Any

from hypothesis import settings

DEFAULT_EXAMPLES = 100


def examples(count: int, **given: Any) -> settings:
    """Settings with `count` examples in the default run, in proportion more in another profile ("fuzz": 20 times)."""
    profile = settings.default
    assert profile is not None
    return settings(max_examples=max(1, count * profile.max_examples // DEFAULT_EXAMPLES), **given)
