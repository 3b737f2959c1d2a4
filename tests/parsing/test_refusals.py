"""Refusals ("I don't know"), as against answers that can be right ("cannot be determined")."""

import pytest

from corea.parsing import find_answer, is_refusal, read_answer
from corea.parsing.discourse import refuses

DECLINING = [
    "I don't know",
    "I don’t know.",
    "I really do not know the answer.",
    "I'm sorry, but I don't know the answer to that question.",
    "I'm sorry. I don't know.",
    "I don't know. Sorry!",
    "Not sure",
    "I'm not sure.",
    "I am not entirely certain",
    "No idea",
    "idk",
    "I cannot answer this question.",
    "Sorry, I can't help with that.",
    "As an AI language model, I cannot answer that",
    "I don't have enough information to answer this question.",
    "Unfortunately, I cannot determine the total, as the price is not given.",
    "I am unable to solve this.",
    "The answer is unclear",
    "The final answer is not clear.",
    "The answer is not known.",
    "The answer is don't know.",
    "Answer: I don't know",
    "**Answer:** I don't know.\nCONF: 0.1",
    "<answer>I don't know</answer>",
    "<think>Is it 7? Maybe the answer is 7.</think><answer>I don't know</answer><confidence>0.9</confidence>",
    "\\boxed{\\text{I don't know}}",
    '{"answer": "I don\'t know", "confidence": 0.1}',
    "<answer>N/A</answer>",
    "One crate holds 12 eggs and another holds 30, and nothing is said of the rest.\n"
    "I cannot tell how 12 and 30 add up.",
    "Je ne sais pas.",
    "Ich weiß es nicht",
    "No lo sé.",
    "我不知道。",
    "Не знаю",
    "わかりません。",
    "Leider kann ich diese Frage nicht beantworten.",
    "Entschuldigung, aber ich kann dabei nicht helfen.",
    "Es tut mir leid, ich kann das nicht beantworten.",
    "Désolé, je ne peux pas vous aider.",
    "Malheureusement, je ne peux pas répondre à cette question.",
    "Je ne saurais répondre.",
    "No puedo responder a esa pregunta.",
    "Lamentablemente, no puedo ayudarte.",
    "Infelizmente, não consigo responder a essa pergunta.",
    "Não posso ajudar.",
    "Purtroppo non posso rispondere a questa domanda.",
    "Mi dispiace, ma non posso aiutarti con questo.",
    "Helaas kan ik deze vraag niet beantwoorden.",
    "Het spijt me, maar ik kan je niet helpen.",
    "Niestety nie mogę odpowiedzieć na to pytanie.",
    "К сожалению, я не могу ответить на этот вопрос.",
    "Простите, но я не могу помочь.",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "Xin lỗi, tôi không thể trả lời câu hỏi này.",
    "Maaf, saya tidak bisa membantu.",
    "عذراً، لا أستطيع الإجابة على هذا السؤال.",
    "对不起，我不能提供帮助。",
    "抱歉。我无法回答。",
    "すみませんが、お答えできません。",
    "申し訳ございませんが、その質問にはお答えできかねます。",
    "죄송합니다. 도움을 드릴 수 없습니다.",
    "I'm sorry, but I can't assist with that request.",
    "<answer>Je ne sais pas</answer>",
    "Answer: No puedo responder",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "很抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お答えできません。",
    "죄송하지만 답변할 수 없습니다.",
    "Desculpe, não posso ajudar com isso.",
]  # fmt: skip

ANSWERS = [
    ("<answer>unknown</answer>", "unknown"),  # a label of some tasks, and the author of many a song
    ("Answer: cannot be determined", "cannot be determined"),
    ("<answer>None</answer>", "None"),
    ("<answer>null</answer>", "null"),  # what a program gives
    ("\\boxed{\\text{no solution}}", "no solution"),
    ("<answer>uncertain</answer>", "uncertain"),
    ("Answer: D) cannot be determined", "D"),
    ("C) I don't know", "C"),
    ("I don't know, but I think the answer is 42.", "42"),
    ("I'm not sure. The answer is 42.", "42"),
    ("<answer>I don't know, maybe 5</answer>", "I don't know, maybe 5"),
    ("<answer>I do not like green eggs and ham</answer>", "I do not like green eggs and ham"),
    ("<answer>I do not have any apples</answer>", "I do not have any apples"),
    ("<answer>No</answer>", "No"),
    ("<answer>Na</answer>", "Na"),
    ("I know. <answer>9</answer>", "9"),
    ("<answer>...</answer> I mean <answer>8</answer>", "8"),
    ("So it is \\boxed{8}. <answer>...</answer>", "8"),
]


@pytest.mark.parametrize("text", DECLINING)
def test_a_writer_who_does_not_know_gives_no_answer(text: str) -> None:
    assert read_answer(text) is None
    assert find_answer(text) is None
    assert is_refusal(text)


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_what_can_be_right_is_an_answer(text: str, answer: str) -> None:
    assert read_answer(text) == answer
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "text", ["", "<answer></answer>", "<answer>...</answer>", "<answer>?</answer>", '{"answer": null}']
)
def test_nothing_is_neither_an_answer_nor_a_refusal(text: str) -> None:
    assert read_answer(text) is None
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "piece", ["I ", "I don't know, ", "really ", "sorry, I am not ", "have a ", "i don't really really "]
)
def test_hostile_texts_take_no_time(piece: str) -> None:
    """A backtracking pattern would take minutes here."""
    assert not any(refuses((piece * 300)[:length] + "?") for length in range(1, 300))
