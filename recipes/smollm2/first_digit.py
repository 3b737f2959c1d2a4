# pyright: basic
# (torch and transformers are only partly typed)
"""Error of credit for all values at the first digit, where it holds the second one as written.

python -m recipes.smollm2.first_digit FOLDER: of greedy replies to 40 questions, with reward l2, five chances of being
right, the relative distance of the gradient (of the first digit's logits) from the exact one, which averages over the
second digit as the model would write it after each first digit.
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corea.prompts import load_prompt
from corea.train.confidence_credit import digit_tokens
from corea.train.data import messages
from recipes.smollm2.questions import EasyMaths

START = "<confidence>0."
CHANCES = (0.0, 0.25, 0.5, 0.75, 1.0)
NUMBERS_KD = torch.arange(10)[:, None] / 10 + torch.arange(10)[None] / 100  # of first digit K and second digit D


def gradient(first_K: torch.Tensor, pay_K: torch.Tensor) -> torch.Tensor:
    """Gradient of the mean pay by the first digit's logits."""
    return first_K * (pay_K - (first_K * pay_K).sum())


def errors(first_K: torch.Tensor, second_KD: torch.Tensor, chance: float) -> tuple[float, float]:
    """Relative error of the mean gradient, and its root mean square over single replies."""
    pay_KD = -((NUMBERS_KD - chance) ** 2)
    exact = gradient(first_K, (second_KD * pay_KD).sum(1))
    ours_D = torch.stack([gradient(first_K, pay_KD[:, d]) for d in range(10)])  # by the second digit as written
    chances_D = first_K @ second_KD
    mean = (chances_D[:, None] * ours_D).sum(0)
    spread = (chances_D * (ours_D - exact).square().sum(1)).sum().sqrt()
    return float((mean - exact).norm() / exact.norm()), float(spread / exact.norm())


def main(folder: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    prompt, digits = load_prompt("recipes/smollm2/prompt.txt"), digit_tokens(tokenizer)
    found = []
    for question in EasyMaths(n=40, seed=5).load("validation"):
        asked = tokenizer.apply_chat_template(messages(prompt, question), add_generation_prompt=True, tokenize=False)
        ids = tokenizer(asked, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            text = tokenizer.decode(model.generate(**ids, do_sample=False, max_new_tokens=64)[0])  # pyright: ignore[reportAttributeAccessIssue] -- peft passes it on
            if START not in text:
                continue
            head = text[: text.index(START) + len(START)]
            row = tokenizer(head, add_special_tokens=False, return_tensors="pt")["input_ids"]
            rows = torch.cat([row.repeat(10, 1), torch.tensor(digits)[:, None]], dim=1)
            logits = model(input_ids=rows, logits_to_keep=2).logits[:, :, digits].float()
        found += [errors(logits[0, 0].softmax(-1), logits[:, 1].softmax(-1), chance) for chance in CHANCES]
    for name, values in zip(("mean gradient", "one reply's"), torch.tensor(found).T, strict=True):
        print(f"{name}: median {values.median():.4f}, ninth decile {values.quantile(0.9):.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
