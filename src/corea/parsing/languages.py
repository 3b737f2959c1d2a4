"""The words with which texts announce an answer, language by language: one table for all forms of reading."""

from dataclasses import dataclass

from corea.parsing.text import regex


@dataclass(frozen=True, slots=True)
class LanguageWords:
    """Words of one language, as alternatives of a pattern, in lower case.

    Args:
        nouns: "answer", and what is used like it.
        before: What may qualify the noun, before it.
        after: The same, after it.
        verbs: What joins the noun and the answer; a colon, an arrow and "=" do so everywhere.
        fill: What may stand between the verb and the answer and is no part of it: an adverb, an article.
        tail: What may follow the answer in its sentence and is no part of it.
        option: "option", "choice", "letter": what a letter may be called.
        right: "is correct", after an option's letter.
        question: "question", "problem", as the label of one.
    """

    nouns: str
    before: str = ""
    after: str = ""
    verbs: str = ""
    fill: str = ""
    tail: str = ""
    option: str = ""
    right: str = ""
    question: str = ""


LANGUAGES = {
    "de": LanguageWords(
        question="frage|aufgabe",
        nouns="(?:end)?antwort|lösung|endergebnis",
        before="richtige|korrekte|endgültige|finale|beste",
        verbs="ist|lautet|wäre",
        fill="also|daher|somit|demnach|damit",
        option="option|antwort|möglichkeit|buchstabe|variante",
        right="ist (?:richtig|korrekt|die richtige antwort)",
    ),
    "fr": LanguageWords(
        question="question|exercice",
        nouns="réponse",
        before="bonne|meilleure",
        after="finale|correcte|exacte|juste",
        verbs="est|serait",
        fill="donc|alors|ainsi|la|le",
        option="option|lettre|réponse|proposition|choix",
        right="est (?:correcte|exacte|juste|la bonne(?: réponse)?)",
    ),
    "es": LanguageWords(
        question="pregunta|problema",
        nouns="respuesta",
        before="mejor",
        after="correcta|final|definitiva",
        verbs="es|sería",
        fill="entonces|por lo tanto|por tanto|pues|la|el",
        option="opción|letra|alternativa|respuesta",
        right="es (?:la )?(?:correcta|respuesta correcta)",
    ),
    "pt": LanguageWords(
        question="pergunta|questão",
        nouns="resposta",
        before="melhor",
        after="correta|certa|final",
        verbs="é|seria",
        fill="portanto|então|a|o",
        option="opção|letra|alternativa",
        right="é (?:a )?(?:correta|certa|resposta correta)",
    ),
    "it": LanguageWords(
        question="domanda",
        nouns="risposta",
        before="migliore",
        after="corretta|giusta|esatta|finale|definitiva",
        verbs="è|sarebbe",
        fill="quindi|dunque|perciò|la|il",
        option="opzione|lettera|alternativa",
        right="è (?:la )?(?:corretta|giusta|risposta corretta)",
    ),
    "nl": LanguageWords(
        question="vraag",
        nouns="antwoord",
        before="juiste|uiteindelijke|correcte|goede",
        verbs="is|luidt",
        fill="dus|daarom",
        option="optie|letter|keuze",
        right="is (?:juist|correct|het juiste antwoord)",
    ),
    "sv": LanguageWords(
        nouns="svaret?|svar", before="rätta|rätt|riktige?|korrekte?", verbs="är|er|blir", fill="alltså|derfor"
    ),
    "fi": LanguageWords(nouns="vastaus", before="oikea|lopullinen", verbs="on", fill="siis"),
    "pl": LanguageWords(
        question="pytanie|zadanie",
        nouns="odpowiedź|odpowiedzią",
        before="poprawna|prawidłowa|ostateczna|poprawną|prawidłową",
        verbs="to|jest|brzmi",
        fill="zatem|więc|to",
        option="opcja|litera|odpowiedź",
        right="jest (?:poprawna|prawidłowa)",
    ),
    "cs": LanguageWords(
        question="otázka", nouns="odpověď", before="správná|konečná", verbs="je|zní", fill="tedy", option="možnost"
    ),
    "ro": LanguageWords(question="întrebare", nouns="răspunsul?", after="corect|final", verbs="este|e", fill="deci"),
    "hu": LanguageWords(question="kérdés", nouns="válasz", before="helyes|végső", fill="tehát"),
    "tr": LanguageWords(question="soru", nouns="cevap|yanıt", before="doğru|nihai", option="şık|seçenek"),
    "vi": LanguageWords(
        question="câu hỏi", nouns="đáp án|câu trả lời", after="đúng|cuối cùng", verbs="là", option="phương án|lựa chọn"
    ),
    "id": LanguageWords(
        question="pertanyaan|soal",
        nouns="jawaban(?:nya)?",
        after="yang benar|akhir(?:nya)?",
        verbs="adalah",
        option="opsi|pilihan",
    ),
    "ru": LanguageWords(
        question="вопрос|задача|питання",
        nouns="ответ|відповідь",
        before="правильный|верный|окончательный|итоговый|правильна",
        verbs="будет|[—–-]|это",
        fill="это|таким образом",
        option="вариант|буква|ответ",
        right="(?:верный|правильный|верен|верна|правильно|является правильным)",
    ),
    "el": LanguageWords(question="ερώτηση", nouns="απάντηση", before="σωστή|τελική", verbs="είναι"),
    "ar": LanguageWords(
        question="(?:ال)?سؤال",
        nouns="(?:ال)?(?:جواب|إجابة|اجابة)",
        after="الصحيحة?|النهائية?",
        verbs="هو|هي",
        option="الخيار|الحرف",
    ),
    "fa": LanguageWords(question="سوال|پرسش", nouns="پاسخ|جواب", after="صحیح|درست|نهایی", tail="است", option="گزینه"),
    "he": LanguageWords(question="ה?שאלה", nouns="ה?תשובה", after="הנכונה|הסופית", verbs="היא|הוא", option="אפשרות"),
    "hi": LanguageWords(
        question="प्रश्न|सवाल", nouns="उत्तर|जवाब", before="सही|अंतिम", verbs="है", tail="है|हैं", option="विकल्प"
    ),
    "th": LanguageWords(question="คำถาม", nouns="คำตอบ", after="ที่ถูกต้อง|สุดท้าย", verbs="คือ", option="ข้อ|ตัวเลือก"),
    "zh": LanguageWords(
        question="问题|問題|题目|題目",
        nouns="答案|答(?=[:：])",
        before="最终|正确|最後|最终的|正确的|標準",
        verbs="应该是|應該是|应该选|应当是|应为|應為|应选|就是|选择|選擇|是|为|為|选|選",
        fill="选项|選項",
        option="选项|選項",
        right="(?:是)?(?:正确|對|对)(?:的|答案|选项)?",
    ),
    "ja": LanguageWords(
        question="質問|問題|問",
        nouns="答え|解答|回答|正解|答",
        before="最終的な|最終|正しい",
        verbs="は",
        tail="です|だ|となります|になります|である",
        option="選択肢",
        right="が(?:正解|正しい)",
    ),
    "ko": LanguageWords(
        question="질문|문제",
        nouns="정답|답변|답",
        before="최종|올바른",
        verbs="은|는",
        tail="입니다|이다|이에요|예요|번입니다",
        option="선택지|보기",
        right="[가이] (?:정답|맞)",
    ),
}


def _union(field: str) -> str:
    """All languages' words of one kind, the longest first."""
    words = {word for language in LANGUAGES.values() for word in _alternatives(getattr(language, field))}
    return "|".join(sorted(words, key=len, reverse=True))


def _alternatives(pattern: str) -> list[str]:
    """The alternatives at the top of a pattern, without splitting its groups."""
    depth, begin, found = 0, 0, list[str]()
    for i, char in enumerate(pattern):
        depth += (char in "([") - (char in ")]")
        if char == "|" and depth == 0:
            found.append(pattern[begin:i])
            begin = i + 1
    return [part for part in [*found, pattern[begin:]] if part]


ANSWER_STEMS = (
    *("antwort", "lösung", "endergebnis", "réponse", "respuesta", "resposta", "risposta", "antwoord", "svar"),
    *("vastaus", "odpowied", "odpověď", "răspuns", "válasz", "cevap", "yanıt", "đáp án", "câu trả lời", "jawaban"),
    *(
        "ответ",
        "відповідь",
        "απάντηση",
        "جواب",
        "إجابة",
        "اجابة",
        "پاسخ",
        "תשובה",
        "उत्तर",
        "जवाब",
        "คำตอบ",
        "答",
        "正解",
    ),
    *("정답", "답"),
)
"""What every noun of the table has in it: they are sought with `str.rfind`, and patterns tried only there."""

LATIN_ANSWER_STEMS = tuple(stem for stem in ANSWER_STEMS if stem.isascii())
_SPACE = r"[\s*_]{0,3}"
ANNOUNCED = regex(
    rf"(?:(?:{_union('nouns')})(?:\s(?:{_union('after')}))?(?![a-zà-ÿ])"
    rf"{_SPACE}(?:\(\w{{1,12}}\){_SPACE})?"
    rf"(?:(?::|：|=|->|→|】\s?[:：]?)|(?:{_union('verbs')})(?:[\s:：*_]|(?=[^\x00-\x7fà-ÿ])|(?<=[^\x00-\u04ff]))"
    rf"|\s(?=\S{{1,30}}\s(?:{_union('tail')})))"
    rf"(?:{_SPACE}(?:{_union('fill')})(?=[\s:*_,]|(?<=[^\x00-\u04ff])))?[\s:：*_,]{{0,4}})(?=\S)"
)
"""A noun with what joins it to the answer, at a place where a stem was found."""

TAIL = regex(rf"\s?(?:{_union('tail')})?\s?[.。!！।]?\s*$")
OPTION = _union("option")
RIGHT = _union("right")
BEFORE = _union("before")
AFTER = _union("after")
VERBS = _union("verbs")
QUESTION = _union("question")
OPTION_WORD = regex(OPTION)


LABEL = regex(
    r"conf(?:idence|ident)?s?(?P<blocked>[\s_-]{0,2}(?:interval|limit|bound|region|band|set|ind(?:ex|ices)|threshold"
    r"|parameter|cut-?off|coefficient)s?)?"
    r"(?:[\s_-]{0,2}(?:level|score|rating|value|estimate|assessment|percentage|percent|pct|probability)s?)?(?![a-z])"
    r"(?:\.(?=\s?[:=]))?"
    r"|(?P<right>(?:probability|likelihood|chance)\s(?:(?=correct)|of\s(?:being\s|the\sanswer\sbeing\s)?|that\si(?:'m|\sam)\s|that\s(?:my|the"
    r"|this)\s(?:answer|solution)\sis\s)"
    r"(?:correct(?:ness)?|right)|accuracy\sof\s(?:my|this)\s(?:answer|solution)|p\((?:(?:my|the|this)\s)?(?:answer\s(?:is\s|being\s)?)?(?:correct|true|right)\))"
    r"|prob(?:ability)?(?P<field>_(?!of_(?!being|correct|answer))[a-z_]{1,30}|_?yes|_?correct)?(?![a-z])|likelihood(?![a-z])"
    r"|(?P<reversed>uncertainty(?:[\s_-](?:level|score|estimate))?(?![a-z]))|certainty(?:[\s_-](?:level"
    r"|score))?(?![a-z])"
    r"|konfidenz(?:wert|niveau|grad)?(?![a-z])|(?:vertrauens?|sicherheits?)(?:wert|niveau|grad)?(?![a-z])"
    r"|(?:zuversicht|gewissheit)(?![a-z])"
    r"|confian(?:ce|za|ça)(?![a-z])|certitude(?![a-z])|certe(?:za|zza)(?![a-z])|confidenza(?![a-z])"
    r"|fiducia(?![a-z])|keyakinan(?![a-z])"
    r"|(?:zekerheid|betrouwbaarheid|vertrouwen)(?:s(?:niveau|score|graad))?(?![a-z])|pewnoś(?:ć|ci)(?![a-z])"
    r"|уверенност[ьи](?![а-я])"
    r"|置信(?:度|水平|水準)|信心(?:指数|指數|程度|水平|水準|水准|度)?|信頼度|(?:確信|确信)度?|(?:把握|可信|自信)(?:程度|度)"
    r"|(?:확신|신뢰)(?:도|\s?수준)|자신감|(?:ال)?ثق(?:ة|تي)(?!\w)|(?:(?:आत्म)?विश्वास|निश्चितता)(?:\sका)?(?:\sस्तर)?"
    r"|(?P<foreign>wahrscheinlichkeit,?\sdass\s(?:die|meine)\santwort\s(?:korrekt|richtig)\sist"
    r"|probabilité\sque\s(?:ma|la)\sréponse\s(?:soit|est)\s(?:correcte|juste))"
)
"""A label; `blocked`, a term of statistics; `right`, `field`, an event that is the answer's being right; `reversed`."""

LABEL_STEMS = (
    "conf",
    "prob",
    "likelihood",
    "certainty",
    "chance of",
    "chance that",
    "accuracy of",
    "p(correct",
    "p(true",
    "p(right",
    "p(answer",
    "p(my a",
    "p(the a",
)
LABEL_LATIN_STEMS = (
    "konfidenz", "vertrauen", "sicherheit", "zuversicht", "gewissheit", "wahrscheinlichkeit", "certitude", "certeza",
    "certezza", "fiducia", "keyakinan", "zekerheid", "betrouwbaarheid", "vertrouwen",
)  # fmt: skip
FOREIGN_LABEL_STEMS = (
    *LABEL_LATIN_STEMS, "置信", "信心", "信頼度", "確信", "确信", "把握", "可信", "自信", "확신", "신뢰", "자신감",
    "уверенност", "pewnoś", "ثقة", "ثقتي", "विश्वास", "निश्चितता",
)  # fmt: skip
