"""The embedded backend: an onnxruntime-genai model folder, run in this process, with no server and no torch."""

import codecs
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from corea.backends.local.backend import LocalBackend
from corea.backends.local.generation import Decoder, DecodingSession, Floats, GenerationLimits, Tokens
from corea.errors import BackendError, ConfigError
from corea.registry import import_extra, need_extra
from corea.types import Question

MOST_ROWS = 32  # of a batch, in onnxruntime-genai
ENGINE = "the embedded engine (kind 'onnx', and the bundled pair)"
NO_TOKEN = -1  # pads shorter rows; no text has it, so a prompt may end in the real padding token


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxSettings(GenerationLimits):
    """A genai model folder, its name, and how it is run.

    Args:
        folder: Written by `corea export` or genai's own model builder, with a `genai_config.json`.
        model: Its name in traces and price tables; the folder's name by default.
        max_batch: Questions answered together, up to 32; 16 to 32 give the most tokens per second on a CPU.
        max_batch_tokens: Rows times the longest prompt: bounds memory and the time of one step, in which the library
            holds Python's lock.
        threads: For one matrix product; None leaves it to ONNX Runtime. Tiny models are fastest with 1.
    """

    folder: str
    model: str = ""
    threads: int | None = None

    def __post_init__(self) -> None:
        check_folder(Path(self.folder))
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads: got {self.threads}, expected at least 1, or leave it out")
        if self.max_batch > MOST_ROWS:
            raise ConfigError(
                f"max_batch: got {self.max_batch}, expected at most {MOST_ROWS}: onnxruntime-genai takes no more"
            )
        GenerationLimits.__post_init__(self)


class OnnxBackend(LocalBackend):
    """Answers with a genai model folder. The model is loaded at the first call, in the worker thread."""

    writes_tags: ClassVar[bool] = True  # these models were trained by `corea train`, to write them without a prompt

    def __init__(self, settings: OnnxSettings) -> None:
        need_extra(ENGINE, "onnxruntime_genai")
        self.settings = settings
        folder = Path(settings.folder)
        name = settings.model or folder.resolve().name
        super().__init__(name, lambda: OnnxEngine(folder, settings.threads), settings, folder=folder)


class OnnxEngine:
    """A loaded genai model with its tokenizer; an `Engine` of `corea.backends.local.worker`."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        """Loads it.

        Raises:
            ConfigError: The folder is not a complete genai folder.
            BackendError: The library cannot load it.
        """
        check_folder(folder)
        self._genai: Any = import_extra(ENGINE, "onnxruntime_genai")
        overlay: dict[str, Any] = {"model": {"pad_token_id": NO_TOKEN}}
        if threads is not None:
            options = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
            overlay["model"]["decoder"] = {"session_options": options}
        try:
            config: Any = self._genai.Config(str(folder))
            config.overlay(json.dumps(overlay))
            self._model: Any = self._genai.Model(config)
            self._tokenizer: Any = self._genai.Tokenizer(self._model)
        except RuntimeError as error:
            raise BackendError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
        self._tokenizer.update_options(add_special_tokens="false")  # the chat template writes them
        self._bytes = byte_pieces(folder)
        self._has_template = has_chat_template(folder)
        self._folder = folder
        model = read_json(folder / "genai_config.json")["model"]
        self.context: int = int(model["context_length"])
        self.vocabulary: int = int(model["vocab_size"])
        self.ends: frozenset[int] = frozenset(int(token) for token in self._tokenizer.eos_token_ids)

    def prompt(self, question: Question) -> tuple[str, list[int]]:
        """The question by the folder's chat template. Without one (a base model), the messages' texts, a line apart."""
        if self._has_template:
            messages = [{"role": m.role, "content": m.content} for m in question.messages]
            try:
                text = str(self._tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True))
            except RuntimeError as error:
                line = " ".join(str(error).split())[:300]
                where = f"question {question.id}: the chat template of {self._folder}"
                raise BackendError(f"{where} cannot put these messages: {line}") from error
        else:
            text = "\n".join(m.content for m in question.messages)
        return text, self.encode(text)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).tolist()

    def decoder(self) -> Decoder:
        return ByteDecoder(self._bytes) if self._bytes is not None else _StreamDecoder(self._tokenizer.create_stream())

    def text(self, tokens: Sequence[int]) -> str:
        if self._bytes is not None:
            return b"".join([self._bytes.get(token, b"") for token in tokens]).decode("utf-8", "replace")
        decoder = self.decoder()
        return "".join([decoder.add(token) for token in tokens]) + decoder.end()

    def start(self, prompts: Sequence[Sequence[int]], room: int) -> DecodingSession:
        longest = max(map(len, prompts))
        tokens = np.full((len(prompts), longest), NO_TOKEN, np.int32)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = prompt
        generator = self._generator(len(prompts), longest + room)
        generator.append_tokens(tokens)
        return _OnnxSession(generator, len(prompts), self.vocabulary)

    def read(self, base: Sequence[int], paths: Sequence[tuple[int, ...]]) -> list[Floats]:
        """Each path's prefix comes before it, so one sequence, rewound to where two paths part, reads them all."""
        generator = self._generator(1, len(base) + max(map(len, paths)) + 1)
        generator.append_tokens(np.asarray([base], np.int32))
        found: list[Floats] = []
        at: tuple[int, ...] = ()
        for path in paths:
            if path:
                if path[:-1] != at:
                    generator.rewind_to(len(base) + len(path) - 1)
                generator.append_tokens(np.asarray([path[-1:]], np.int32))
            at = path
            found.append(generator.get_logits()[0, -1].copy())
        return found

    def _generator(self, rows: int, length: int) -> Any:
        params = self._genai.GeneratorParams(self._model)
        # the folder's own sampling settings must not change greedy decoding or the probabilities
        params.set_search_options(
            max_length=length,
            batch_size=rows,
            num_beams=1,
            num_return_sequences=1,
            do_sample=False,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            min_length=0,
        )
        return self._genai.Generator(self._model, params)


class _OnnxSession:
    def __init__(self, generator: Any, rows: int, vocabulary: int) -> None:
        self._generator = generator
        self._vocabulary = vocabulary
        self._rows = np.arange(rows)

    def logits(self) -> Floats:
        return cast(Floats, self._generator.get_logits())[:, -1]

    def advance(self, tokens: Tokens) -> None:
        """The library chooses the token itself, so all other logits are set to the minimum."""
        logits = np.full((len(tokens), 1, self._vocabulary), np.finfo(np.float32).min, np.float32)
        logits[self._rows, 0, tokens] = 0
        self._generator.set_logits(logits)
        self._generator.generate_next_token()

    def advance_greedily(self) -> Tokens:
        self._generator.generate_next_token()
        return self._generator.get_next_tokens()


class ByteDecoder:
    """Text of byte-level tokens. The library's own decoder drops text next to bytes that are not UTF-8."""

    def __init__(self, pieces: dict[int, bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def add(self, token: int) -> str:
        return self._decoder.decode(self._pieces.get(token, b""))

    def end(self) -> str:
        return self._decoder.decode(b"", final=True)


class _StreamDecoder:
    """Text of other tokenizers (SentencePiece), by the library's own stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def add(self, token: int) -> str:
        return str(self._stream.decode(token))

    def end(self) -> str:
        return ""


def byte_pieces(folder: Path) -> dict[int, bytes] | None:
    """The bytes of each token of a byte-level tokenizer; special tokens have none. None for another kind."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizer = read_json(path)
    decoder: dict[str, Any] = tokenizer.get("decoder") or {}
    if decoder.get("type") != "ByteLevel" or tokenizer["model"].get("type") != "BPE":
        return None
    alphabet = _byte_alphabet()
    pieces = {
        int(token): bytes(alphabet[c] for c in text) if all(c in alphabet for c in text) else text.encode()
        for text, token in tokenizer["model"]["vocab"].items()
    }
    for added in tokenizer.get("added_tokens", []):
        pieces[int(added["id"])] = b"" if added["special"] else str(added["content"]).encode()
    return pieces


def _byte_alphabet() -> dict[str, int]:
    """The printable character for each byte in a byte-level vocabulary.

    Printable bytes are themselves, the other 68 the characters from U+0100 on, in order.
    Source: Radford et al. 2019 (GPT-2), byte-level BPE.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def check_folder(folder: Path) -> None:
    """Checks a genai model folder.

    Raises:
        ConfigError: A file is missing.
    """
    if not folder.is_dir():
        raise ConfigError(f"folder: got {str(folder)!r}, which is not a folder; expected one that `corea export` wrote")
    if not (folder / "genai_config.json").is_file():
        hint = (
            "it looks like a Hugging Face folder: run `corea export` on it"
            if (folder / "config.json").is_file()
            else "give one that `corea export` wrote"
        )
        raise ConfigError(f"folder: got {str(folder)!r}, which has no genai_config.json; {hint}")
    config = read_json(folder / "genai_config.json")
    try:
        model = str(config["model"]["decoder"]["filename"])
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder / 'genai_config.json'}: names no model.decoder.filename; export the model again"
        ) from error
    wanted = [model, "tokenizer.json" if not (folder / "tokenizer.model").is_file() else "tokenizer.model"]
    for name in [*wanted, "tokenizer_config.json", *_external_files(folder / model)]:
        if not (folder / name).is_file():
            raise ConfigError(
                f"folder: {str(folder)!r} has no {name}, which its model needs; copy it there or export again"
            )


def _external_files(model: Path) -> list[str]:
    """The weight file of a model, by the name that exporters give it, if the model refers to one."""
    weights = f"{model.name}.data"
    if not model.is_file() or model.stat().st_size > 64 * 2**20:  # a large file contains its weights
        return []
    return [weights] if weights.encode() in model.read_bytes() else []


def has_chat_template(folder: Path) -> bool:
    """True if the folder's tokenizer has a chat template."""
    if (folder / "chat_template.jinja").is_file():
        return True
    return bool(read_json(folder / "tokenizer_config.json").get("chat_template"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        ConfigError: It is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}); export the model again") from error
