"""Telling "I don't know" from an answer.

What says something of the writer ("I don't know", "I'm not sure", "I can't help with that") is no answer. What says
something of the matter is one, since it can be right: "unknown", "cannot be determined", "no solution", "none".
"""

import re

_LONGEST = 300  # characters of a text that says no more than that
_NOT = r"(?:do not|don'?t|did not|didn'?t)"
_CANNOT = r"(?:cannot|can not|can'?t|could not|couldn'?t|(?:am |are |was |were )?(?:unable to|not able to))"
_ADVERBS = r"(?:\s(?:\w{3,12}ly|just|still|quite|do|therefore|also))*"
_HAVE = (
    r"have(?:\s\w{1,15}){0,4}\s(?:answers?|idea|clue|information|info|knowledge|data|context|details?|access|way"
    r"|means)"
)
_KNOW = rf"(?:know|understand|remember|recall|{_HAVE})"
_DO = (
    r"(?:answer|tell|say|determine|solve|help|assist|provide|give|find|compute|calculate|figure|decide|know|comply|"
    r"identify|choose|select|pick|recommend|conclude|infer|complete|fulfil+|be\s(?:sure|certain))"
)
_UNSURE = rf"(?:not{_ADVERBS}\s(?:sure|certain)|unsure|uncertain)"
_NO_IDEA = r"(?:no\s(?:idea|clue)|not\sa\sclue)"
_TURN = r"\b(?:but|maybe|perhaps|probably|possibly|guess|think|believe|assume|although|though|however|except)\b"
_GOES_ON = r"(?:as|since|because|and|or|nor|such|without|given|due|sorry|unfortunately|which|who|what|how|if|to|the)\b"
_TAIL = rf"(?!\w)(?:(?!{_TURN})(?:[^.!?:;=,\n]|,(?=\s{_GOES_ON})))*"  # nothing that may be an answer after all
_OPENING = (
    r"(?:(?:(?:i'?m|i am|we are)\s)?(?:very\s|so\s|really\s)?sorry|unfortunately|honestly|to be honest|apologies|well|"
    r"as an ai(?:\s\w{1,10}){0,2}|at this time|currently|(?:based on|given"
    r"|with)\s(?:the\s)?(?:\w{2,12}\s){0,2}information)[,:]?\s(?:but\s)?"
)
_ENGLISH = (
    rf"(?:{_OPENING}){{0,3}}(?:"
    rf"(?:i|we){_ADVERBS}\s(?:{_NOT}{_ADVERBS}\s{_KNOW}|{_CANNOT}{_ADVERBS}\s{_DO}|have\s{_NO_IDEA})"
    rf"|(?:i'?m|i am|we'?re|we are){_ADVERBS}\s(?:{_UNSURE}|(?:unable to|not able to)\s{_DO})"
    rf"|{_NOT}\sknow|{_CANNOT}\s(?:answer|tell|say|determine|know)|not\s(?:sure|certain)|unsure|{_NO_IDEA}"
    r"|idk|dunno|no answer|n/a"
    r"|(?:the|my|an)(?:\s\w{1,10})?\sanswer(?:\sto\s(?:this|that|the)\s[^.!?:;=,\n]{1,60})?\s(?:is|remains)"
    r"(?:\sstill)?\s(?:unclear|not\s(?:clear|known)|unknown\sto\s(?:me|us))"
    rf"){_TAIL}"
)
_ELSEWHERE = (
    r"je ne sais (?:pas|plus)|(?:je n'ai )?aucune idée|ich wei(?:ß|ss)\s(?:es\s|das\s)?nicht|keine ahnung"
    r"|(?:yo )?no (?:lo )?sé|no tengo (?:ni )?idea|(?:eu )?não sei|(?:io )?non (?:lo )?so|ik weet het niet|nie wiem"
    r"|(?:я )?не знаю|我?不知道|我?不确定|分かりません|わかりません|모르겠습니다|모르겠어요"
)
_SAYING = re.compile(rf"{_ENGLISH}|{_ELSEWHERE}", re.I)
_SORRY = re.compile(
    r"(?:(?:i'?m|i am)\s)?(?:very\s|so\s)?(?:sorry|my apologies)(?:\s(?:about|for)\s(?:that|this))?", re.I
)
_ENDS = re.compile(r"[.!。]+(?:\s+|$)|\n+")


def refuses(text: str) -> bool:
    """Whether a text of one or more sentences says no more than that its writer does not know."""
    if not 1 < len(text) <= _LONGEST or not text[0].isalpha():
        return False
    sentences = [part.strip(" \t*_`\"'") for part in _ENDS.split(text.replace("’", "'"))]
    said = [sentence for sentence in sentences if sentence and not _SORRY.fullmatch(sentence)]
    return bool(said) and all(_SAYING.fullmatch(sentence) for sentence in said)
