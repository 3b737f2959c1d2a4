"""LlamaIndex and DSPy, unchanged, against a gateway: python frameworks.py BASE_URL KEY.

Runs in .venv/frameworks (`make clients`), without COREA: see frameworks.txt.
"""

# pyright: reportMissingImports=false

import os
import sys

URL, KEY = sys.argv[1:]
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no request for the prices of today

import dspy  # noqa: E402
from llama_index.core.llms import ChatMessage  # noqa: E402
from llama_index.llms.openai_like import OpenAILike  # noqa: E402

LARGE = "It is nineteen, surely."
EASY, HARD = "easy: 12 + 7?", "hard: 12 + 7?"


def of_llama_index():
    """Whole, streamed, as a chat."""
    model = OpenAILike(model="corea", api_base=URL, api_key=KEY, is_chat_model=True, max_retries=0)
    assert model.complete(EASY).text == "19"
    assert "".join(piece.delta for piece in model.stream_complete(HARD)) == LARGE
    assert model.chat([ChatMessage(role="user", content=HARD)]).message.content == LARGE


def of_dspy():
    """Whole, kept and deferred."""
    model = dspy.LM("openai/corea", api_base=URL, api_key=KEY, cache=False, num_retries=0)
    assert model(EASY) == ["19"]
    assert model(HARD) == [LARGE]


for check in (of_llama_index, of_dspy):
    check()
    print(f"ok: {check.__name__[3:]}")
print("all passed")
