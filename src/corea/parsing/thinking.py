"""Blocks of thinking: one table of the marks that models put around their reasoning, and the text outside them.

A block begins at an opening mark and ends with a closing mark of the same row. An unclosed block hides the rest of the
text; an unopened one hides the text before its closing mark.
"""

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from corea.parsing.text import fold, is_blank, regex

MOST_BLOCKS = 64
"""Maximum blocks of thinking; from the next one to the last closing mark all counts as thinking."""


@dataclass(frozen=True, slots=True)
class ThinkingMarks:
    """One notation of a block of thinking; every mark is in lower case, any case is read."""

    opens: tuple[str, ...]
    closes: tuple[str, ...]


def _tags(*names: str) -> ThinkingMarks:
    return ThinkingMarks(tuple(f"<{name}>" for name in names), tuple(f"</{name}>" for name in names))


THINKING = (
    _tags("think", "thinking"),  # DeepSeek-R1, Qwen3, GLM, Nemotron; Claude's prompts
    _tags("thought", "thoughts", "thought_process"),  # EXAONE, Granite
    _tags("reasoning", "reason"),
    _tags("analysis"),
    _tags("reflection"),
    _tags("scratchpad"),
    _tags("chain_of_thought", "cot"),
    _tags("inner_monologue", "internal_monologue", "inner_thoughts"),
    _tags("seed:think"),  # Seed-OSS
    ThinkingMarks(("[think]",), ("[/think]",)),  # Magistral
    ThinkingMarks(("◁think▷",), ("◁/think▷",)),  # Kimi-VL
    ThinkingMarks(("<|begin_of_thought|>",), ("<|end_of_thought|>", "<|begin_of_solution|>")),  # Sky-T1, OpenThinker
    ThinkingMarks(("<|start_thinking|>",), ("<|end_thinking|>", "<|start_response|>")),  # Command A
    ThinkingMarks(("<|thinking|>", "<|think|>"), ("<|/thinking|>", "<|/think|>", "</|thinking|>")),
    ThinkingMarks(("<|channel>thought", "<|channel>analysis"), ("<channel|>", "<|channel>final")),  # Gemma
    ThinkingMarks(("<unused94>thought",), ("<unused95>",)),  # MedGemma
    ThinkingMarks(  # harmony: gpt-oss
        ("<|channel|>analysis", "<|channel|>commentary"), ("<|channel|>final<|message|>", "<|channel|>final")
    ),
)

BARE_HARMONY = ThinkingMarks(("analysis",), ("assistantfinal",))
"""Harmony without its special tokens: "analysisWe need ...assistantfinal42"; only at the start of a text."""

TOKENS = (
    *("<|start|>assistant", "<|start|>", "<|end|>", "<|return|>", "<|message|>", "<|constrain|>json", "<|im_end|>"),
    *("<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<end_of_turn>", "<eos>", "<turn|>"),
    *("<|begin_of_solution|>", "<|end_of_solution|>", "<|start_response|>", "<|end_response|>"),
    *("<|begin_of_box|>", "<|end_of_box|>", "[end of text]"),
)
"""Special tokens that a server may leave in a text."""

CLOSES_OF = {opening: mark.closes for mark in THINKING for opening in mark.opens}
_CLOSINGS = {closing for mark in THINKING for closing in mark.closes}


def any_of(marks: Iterable[str]) -> str:
    """A pattern of all marks, the longest first; common beginnings are written once, which is faster."""
    tails: dict[str, list[str]] = {}
    for mark in sorted(set(marks)):
        tails.setdefault(mark[:1], []).append(mark[1:])
    ends = bool(tails.pop("", None))
    found = "|".join(re.escape(first) + any_of(rest) for first, rest in tails.items())
    return f"(?:{found})?" if found and ends else f"(?:{found})" if len(tails) > 1 else found


MARKS = (*CLOSES_OF, *sorted(_CLOSINGS))
_MARK = regex(any_of(MARKS))
_CLOSING = regex(any_of(_CLOSINGS))
_CLOSE = {opening: regex(any_of(closes)) for opening, closes in CLOSES_OF.items()}


_LINE_CHANNEL = regex(r"analysis\s{0,3}\n.*\n\s{0,3}(?:assistant\s{0,3})?final\s{0,3}\n", re.S)
"""The same with channel names on lines of their own, up to the last "final"."""


def opens_bare_harmony(low: str) -> bool:
    """True if a folded text begins as harmony without its tokens: "analysis" and a word without space between."""
    return low.startswith("analysis") and low[8:9].isalnum()


_QUOTED = regex(
    r"`[^`\n]{0,40}`"
    r"|\w,?\s[\"'“(]?[^\s\"'”)]{3,40}[\"'”)]?\s(?:tags?|tokens?|mark(?:er)?s?|blocks?|sections?)\b"
)


_SPEAKS_OF = (" ", "`", '"', "'", "(", "“")  # characters before a mark that is only mentioned


def _is_mentioned(low: str, mark: re.Match[str]) -> bool:
    """True if the text only mentions a mark: "the <think> tags", "`</think>`"."""
    if low[mark.start() - 1 : mark.start()] not in _SPEAKS_OF:
        return False
    begin = max(0, mark.start() - 3)
    found = _QUOTED.search(low, begin, mark.end() + 12)
    return found is not None and found.start() < mark.start() and found.end() > mark.end()


def outside_thinking(low: str, *, most: int = MOST_BLOCKS) -> list[tuple[int, int]]:
    """The spans of a folded text outside thinking, in order: at least one, which may be empty.

    The whole text is one span if it has no thinking.
    """
    bare = low.rfind(BARE_HARMONY.closes[0])
    if bare >= 0:
        return [(bare + len(BARE_HARMONY.closes[0]), len(low))]
    if low.startswith("analysis"):
        if opens_bare_harmony(low):
            return [(0, 0)]
        if lines := _LINE_CHANNEL.match(low):
            return [(lines.end(), len(low))]
    first = _MARK.search(low) if "<" in low or "think" in low else None
    return _spans(low, first, most) if first else [(0, len(low))]


def _spans(low: str, mark: re.Match[str] | None, most: int) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    at, end, blocks = 0, len(low.rstrip()), 0
    while mark:
        blocks += 1
        if blocks > most:
            last = deque(_CLOSING.finditer(low, mark.start()), maxlen=1)
            at = last[0].end() if last else end
            break
        if _is_mentioned(low, mark):
            mark = _MARK.search(low, mark.end(), end)
            continue
        if mark[0] in CLOSES_OF:
            if low[at : mark.start()].strip():
                spans.append((at, mark.start()))
            closing = _CLOSE[mark[0]].search(low, mark.end())
            at = closing.end() if closing else end
        elif mark.end() < end or blocks == 1:
            at = mark.end()  # an unopened block
        else:
            end = mark.start()  # a closing mark too many, at the very end
        mark = _MARK.search(low, at, end) if at < end else None
    if at < end and low[at:end].strip():
        spans.append((at, end if end < len(low.rstrip()) else len(low)))
    return spans or [(len(low), len(low))]


_CONFIDENCE_TAGS = regex(r"<confidence>[^<\n]{0,200}(?:</confidence>|$|(?=[<\n]))", re.I)
_STRAY = regex(r"</?(?:answer|confidence)>", re.I)
_TOKENS = regex(any_of(TOKENS), re.I)
_TOKEN = regex(any_of(TOKENS))  # of a folded text: faster
_MOST_BLOCKS = 10_000
_CONFIDENCE_LINE = regex(
    r"(?:^|\n)[ \t*_#>-]{0,8}(?:conf|confidence)(?:[ _](?:level|score"
    r"|rating))?[ \t*_]{0,4}[:=][ \t*_$\\]{0,6}[\d.,]{0,12}[ \t]?(?:\\?%|/[ \t]?\d{1,3}|out of \d{1,3}"
    r"|n/?a)?[ \t*_$.]{0,6}(?=\n|$)",
    re.I,
)


def is_visibly_blank(text: str) -> bool:
    """True if the text has only thinking, tags and a stated confidence."""
    return is_blank(outside_markup(text))


def outside_markup(text: str) -> str:
    """The text without thinking, stated confidences and answer tags."""
    seen = without_thinking(text)
    low = fold(seen)
    if "conf" in low:
        seen = _CONFIDENCE_LINE.sub("", _CONFIDENCE_TAGS.sub("", seen))
    if "answer>" in low or "confidence>" in low:
        seen = _STRAY.sub("", seen)
    return seen.strip()


def without_thinking(text: str) -> str:
    """The text without special tokens and blocks of thinking, unopened and unclosed ones included."""
    seen = "".join(text[start:end] for start, end in outside_thinking(fold(text), most=_MOST_BLOCKS))
    return _TOKENS.sub("", seen) if _TOKEN.search(fold(seen)) else seen
