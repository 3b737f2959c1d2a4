"""The most that a request can cost: what is reserved of a budget before anything is asked."""

from collections.abc import Sequence
from decimal import Decimal

from corea.gateway.settings import GatewaySettings
from corea.gateway.wire import ChatRequest, encode_json
from corea.prompts import Prompt
from corea.stage import Stage

TOKENS_PER_MESSAGE = 64  # roles and separators of any chat template
TOKENS_PER_MEDIUM = 4096  # OpenAI's largest picture is 1,445 tokens in high detail, other servers' somewhat more


def worst_costs(stages: Sequence[Stage], request: ChatRequest, settings: GatewaySettings) -> list[Decimal]:
    """The most that each stage can cost."""
    prompt, worst = prompt_tokens_at_most(request), list[Decimal]()
    for stage in stages:
        worst.append(at_most(stage, prompt, settings))
        if stage.hand_over_draft:
            prompt += stage.sampling.max_tokens or settings.default_reserve_tokens
    return worst


def prompt_tokens_at_most(request: ChatRequest) -> int:
    """More than any tokenizer makes of the request: a token has at least one byte, a picture fewer than so many tokens.

    A stage's own prompt adds to it, and is counted with the stage.
    """
    size = 64
    for message in request.messages:
        size += TOKENS_PER_MESSAGE
        if message.raw is None:
            size += len(message.content.encode("utf-8", "surrogatepass"))
            continue
        content = message.raw.get("content")
        media = [part for part in content if part.get("type") != "text"] if isinstance(content, list) else []
        size += len(media) * TOKENS_PER_MEDIUM
        kept = {**message.raw, "content": message.content} if media else message.raw
        size += len(encode_json(kept))
    for name in ("tools", "functions", "response_format"):
        if name in request.extra:
            size += len(encode_json(request.extra[name]))
    return size


def at_most(stage: Stage, prompt_tokens: int, settings: GatewaySettings) -> Decimal:
    """The most that one call of a stage, with its signal's own calls, can cost, as far as prices and limits tell."""
    signal_calls = int(getattr(stage.signal, "k", 0) or getattr(stage.signal, "backend", None) is not None)
    prompt = prompt_tokens + (_size(stage.prompt) if stage.prompt is not None else 0)
    longest = stage.sampling.max_tokens or settings.default_reserve_tokens
    if stage.price is None:
        return settings.default_reserve_usd * (1 + signal_calls)
    worst = stage.price.at_most(prompt, longest)
    if signal_calls:  # they may show the model its own answer again
        worst += signal_calls * (stage.signal_price or stage.price).at_most(prompt + longest + 512, longest)
    return worst


def _size(prompt: Prompt) -> int:
    return len(prompt.system.encode()) + len(prompt.user.encode())
