# pyright: basic
# (torch and transformers are only partly typed)
"""The transformers backend: any Hugging Face folder or hub name, in this process. The one that imports torch."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corea.backends.local.backend import LocalBackend
from corea.backends.local.generation import Decoder, DecodingSession, Floats, GenerationLimits, Tokens
from corea.errors import BackendError, ConfigError
from corea.registry import import_extra
from corea.types import Question

DTYPES = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class HFSettings(GenerationLimits):
    """A Hugging Face model, and how it is run.

    Args:
        name: A folder, or a name on the Hugging Face hub.
        model: Its name in traces and price tables; the name, or the folder's last part, by default.
        revision: A commit, branch or tag on the hub.
        device: "auto" (the first GPU, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto" is that of the saved weights, but float32 on a CPU.
    """

    name: str
    model: str = ""
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_batch: int = 16

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype: got {self.dtype!r}, expected one of {', '.join(DTYPES)}")
        folder = Path(self.name)
        if (self.name.startswith((".", "/", "~")) or folder.is_dir()) and not (folder / "config.json").is_file():
            raise ConfigError(
                f"name: got {self.name!r}, which has no config.json; expected a Hugging Face model folder"
            )
        GenerationLimits.__post_init__(self)


class HFBackend(LocalBackend):
    """Answers with a transformers model. It is loaded at the first call, in the worker thread."""

    def __init__(self, settings: HFSettings) -> None:
        self.settings = settings
        folder = Path(settings.name)
        name = settings.model or (folder.resolve().name if folder.is_dir() else settings.name)
        super().__init__(name, lambda: HFEngine(settings), settings, folder=folder, revision=settings.revision)


class HFEngine:
    """A loaded transformers model with its tokenizer; an `Engine` of `corea.backends.local.generation`."""

    def __init__(self, settings: HFSettings) -> None:
        torch = import_extra("the hf backend", "torch")
        transformers = import_extra("the hf backend", "transformers")
        self.torch = torch
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "float32" if settings.dtype == "auto" and device == "cpu" else settings.dtype
        where: dict[str, Any] = {"revision": settings.revision} if settings.revision else {}
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(settings.name, **where)
            model = transformers.AutoModelForCausalLM.from_pretrained(settings.name, dtype=dtype, **where)
            self.model: Any = model.to(device).eval()  # pyright: ignore[reportArgumentType] -- a wrapped method
        except (OSError, ValueError, RuntimeError) as error:
            line = " ".join(str(error).split())[:300]
            raise BackendError(f"{settings.name}: cannot be loaded: {line}") from error
        self.device = device
        self.context: int = int(getattr(self.model.config, "max_position_embeddings", None) or 1 << 20)
        self.vocabulary: int = int(self.model.get_input_embeddings().num_embeddings)
        self.ends: frozenset[int] = frozenset(self._ends())
        marked = {token for token, added in self.tokenizer.added_tokens_decoder.items() if added.special}
        self.special: frozenset[int] = frozenset(marked | set(self.tokenizer.all_special_ids))

    def _ends(self) -> set[int]:
        """End tokens, as `generate` takes them: the generation config's, else the tokenizer's."""
        named = self.model.generation_config.eos_token_id
        named = self.tokenizer.eos_token_id if named is None else named
        return set(named) if isinstance(named, list) else set() if named is None else {named}

    def prompt(self, question: Question) -> tuple[str, list[int]]:
        """The question by the chat template. Without one (a base model), the messages' texts, a line apart."""
        if self.tokenizer.chat_template:
            messages = [{"role": m.role, "content": m.content} for m in question.messages]
            try:
                text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            except Exception as error:  # a template is a program of the model's author: it may raise anything
                raise BackendError(
                    f"question {question.id}: the chat template cannot put these messages: {error}"
                ) from error
            return text, self.encode(text)
        text = "\n".join(m.content for m in question.messages)
        return text, list(self.tokenizer(text)["input_ids"])

    def encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decoder(self) -> Decoder:
        return _TransformersDecoder(self.tokenizer, self.special)

    def text(self, tokens: Sequence[int]) -> str:
        decoder = _TransformersDecoder(self.tokenizer, self.special)
        decoder.open = [token for token in tokens if token not in self.special]
        return decoder.end()

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> DecodingSession:
        return _TransformersSession(self, prompts)

    def read(self, base: Sequence[int], paths: Sequence[tuple[int, ...]]) -> list[Floats]:
        """Reads the base once, then the longest paths behind it as one batch; the shorter paths are their prefixes."""
        ends = [path for i, path in enumerate(paths) if i + 1 == len(paths) or paths[i + 1][: len(path)] != path]
        ids, mask = self.padded([base])
        with self.torch.inference_mode():
            out = self.model(**self.inputs(ids, mask), use_cache=True, logits_to_keep=1)
        found: dict[tuple[int, ...], Floats] = {(): out.logits[0, -1].float().cpu().numpy()}
        longest = max(map(len, ends))
        for at in range(0, len(ends) if longest else 0, 16):
            rows = ends[at : at + 16]
            for path, row in zip(rows, self._behind(out.past_key_values, mask, rows), strict=True):
                found |= {path[: length + 1]: row[length] for length in range(len(path))}
        return [found[path] for path in paths]

    def _behind(self, cache: Any, mask: Any, rows: Sequence[tuple[int, ...]]) -> Floats:
        """Logits (R, T, V) after each token of the rows, which all follow the cache."""
        longest = max(map(len, rows))
        ids = self.torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=self.device)
        copied = copy.deepcopy(cache)
        copied.batch_repeat_interleave(len(rows))
        whole = self.torch.cat([mask, mask.new_ones((1, longest))], dim=1).repeat(len(rows), 1)
        positions = (whole.cumsum(-1) - 1)[:, -longest:]
        with self.torch.inference_mode():
            out = self.model(input_ids=ids, attention_mask=whole, position_ids=positions, past_key_values=copied)
        return out.logits.float().cpu().numpy()

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Token ids and mask (B, T), padded on the left."""
        longest = max(map(len, rows))
        ids = self.torch.zeros((len(rows), longest), dtype=self.torch.long)
        mask = self.torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, longest - len(row) :] = self.torch.tensor(row)
            mask[i, longest - len(row) :] = 1
        return ids.to(self.device), mask.to(self.device)

    def inputs(self, ids: Any, mask: Any) -> dict[str, Any]:
        """The model's arguments; positions count real tokens only."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


class _TransformersSession:
    """One batch over transformers' key-value cache."""

    def __init__(self, engine: HFEngine, prompts: Sequence[Sequence[int]]) -> None:
        self.engine = engine
        self.mask: Any
        ids, self.mask = engine.padded(prompts)
        self.cache: Any = None
        self.last: Any = None
        self._read(ids)

    def _read(self, ids: Any) -> None:
        inputs = self.engine.inputs(ids, self.mask)
        with self.engine.torch.inference_mode():
            out = self.engine.model(**inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.cache, self.last = out.past_key_values, out.logits[:, -1].float()

    def logits(self) -> Floats:
        return self.last.cpu().numpy()

    def advance(self, tokens: Tokens) -> None:
        ids = self.engine.torch.as_tensor(np.asarray(tokens), dtype=self.engine.torch.long).to(self.engine.device)
        self.mask = self.engine.torch.cat([self.mask, self.mask.new_ones((len(ids), 1))], dim=1)
        self._read(ids[:, None])

    def advance_greedily(self) -> Tokens:
        tokens = self.last.argmax(-1).cpu().numpy()
        self.advance(tokens)
        return tokens


class _TransformersDecoder:
    """Incremental text of tokens: a character is returned with its last byte, and decoding restarts after each."""

    def __init__(self, tokenizer: Any, special: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.before: list[int] = []  # the last decoded tokens, as SentencePiece drops the space of a text's first word
        self.open: list[int] = []  # tokens not decoded yet

    def add(self, token: int) -> str:
        if token in self.special:
            return ""
        self.open.append(token)
        return self._decode(last=False)

    def end(self) -> str:
        return self._decode(last=True)

    def _decode(self, *, last: bool) -> str:
        known = self._text(self.before)
        text = self._text([*self.before, *self.open])[len(known) :]
        if not self.open or (text.endswith("\ufffd") and not last):
            return ""
        self.before, self.open = self.open, []
        return text

    def _text(self, tokens: list[int]) -> str:
        return self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False) if tokens else ""
