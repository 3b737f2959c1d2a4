"""The format that the bundled pair writes in, and the shape of its models."""

from dataclasses import dataclass

from corea.errors import ConfigError

THINK, END_THINK = "<think>", "</think>"
ANSWER, END_ANSWER = "<answer>", "</answer>"
CONFIDENCE, END_CONFIDENCE = "<confidence>", "</confidence>"
TAGS = (THINK, END_THINK, ANSWER, END_ANSWER, CONFIDENCE, END_CONFIDENCE)
USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Qwen2-shaped model trained from nothing.

    Args:
        width: Of the hidden states; a multiple of `head`.
        head: Width of one attention head; ONNX Runtime's rotary kernel wants a multiple of 16.
        inner: Width of the gated feed-forward layer.
        vocabulary: Tokens, the 256 bytes and the tags among them.
    """

    width: int = 80
    layers: int = 3
    head: int = 16
    inner: int = 208
    vocabulary: int = 640
    context: int = 512

    def __post_init__(self) -> None:
        if self.width % self.head:
            raise ConfigError(
                f"train.shape.width: got {self.width}, expected a multiple of head ({self.head}); change one"
            )
        if self.vocabulary < 300:
            raise ConfigError(
                f"train.shape.vocabulary: got {self.vocabulary}, expected at least 300 (bytes, tags); raise it"
            )
