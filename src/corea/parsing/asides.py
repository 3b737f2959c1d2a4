"""Sentences that do not state the writer's own answer: hypotheticals, other people's opinions, remarks, checks."""

import re

_TURN = re.compile(r"\b(?:but|however|yet|so|therefore|thus|hence)\b[,\s]|[;:]\s|\)\s")
_OTHERS = re.compile(
    r"\b(?:many|most|some|other|lots\sof|few)\s(?:people|students|readers|others|would\s(?:say|think|answer|argue"
    r"|guess)|think|say|believe|of\s(?:us|them|you))\b"
    r"|\b(?:one|you|people|someone|students|others)\s(?:might|may|could|often|usually|typically|commonly"
    r"|would\sbe\stempted|mistakenly)\s(?:\w{2,12}ly\s)?(?:think|say|answer|guess|believe|assume|expect|conclude"
    r"|argue|get|write|forget|be\stempted)"
    r"|\b(?:common|typical|frequent|usual|tempting|popular)\s(?:\w{1,14}\s)?(?:mistakes?|errors?|answer"
    r"|misconception|guess|trap|pitfall)\b"
    r"|\b(?:it(?:'s|\sis)\s(?:tempting|easy)\sto|(?:mistakenly|incorrectly|wrongly)\s(?:\w{2,12}\s)?(?:think|say"
    r"|answer|get)|(?:book|textbook|teacher|friend|author|(?:other|another|the)\s(?:student|user|model)"
    r"|answer\skey)\s(?:says?|said|claims?|claimed|thinks?|gives?|answered|wrote)"
    r"|rumou?red|supposedly|allegedly)\b"
)
"""Other people's views, and mistakes."""

_BEFORE = re.compile(
    r"\b(?:intuitively|naively|at\sfirst(?:\sglance|\ssight)?|initially|originally|first\si\sthought|i\s(?:first"
    r"|initially)\s\w{3,10}|"
    r"(?:my|the|an?)\s(?:initial|first|previous|original|earlier)\s(?:answer|guess|thought|estimate|result|response"
    r"|calculation|attempt))\b"
)
"""The writer's earlier views."""

_IF = re.compile(
    r"(?:^|[\s,(])(?:if|unless|suppose|supposing|assuming|imagine|hypothetically|had\s(?:he|she|it|they|we|i|the)"
    r"|were\s(?:he|she|it|they|we|i|the))\b"
)


def is_doubtful(low: str, start: int, at: int) -> bool:
    """Whether what the sentence says before `at` makes what follows a hypothetical, or someone else's view."""
    begin = max(start, at - 160)
    begin = max(begin, *(low.rfind(mark, begin, at) + 1 for mark in (". ", "\n", "? ", "! ")))
    clause = low[begin:at]
    turns = list(_TURN.finditer(clause))
    clause = clause[turns[-1].end() :] if turns else clause
    return any(pattern.search(clause) for pattern in (_OTHERS, _BEFORE, _IF))


_REMARK = re.compile(
    r"(?:(?:please\s)?(?:let|tell)\sme\sknow|(?:please\s)?feel\sfree|(?:i\s)?(?:really\s)?hope|if\syou(?:'d|\swould"
    r"|'re|\sare|\shave|\sneed|\swant|\slike|\sprefer)"
    r"|would\syou|do\syou|does\s(?:this|that)|is\sthere\sanything|shall\si|should\si|want\sme|need\s(?:any|more"
    r"|help)|can\si|may\si|any\s(?:other\s)?questions"
    r"|happy\sto|glad\sto|i'?(?:m|\sam|'d|\swould)\s(?:be\s)?(?:happy|glad|here\sto|available|always|love\sto)"
    r"|i\scan\s(?:also\s)?(?:help|explain|show|walk|provide|elaborate)|don't\shesitate|please\s(?:ask|note|verify"
    r"|check|don't)"
    r"|good\sluck|great\s(?:job|question|work)|good\s(?:job|question|work)|well\sdone|best(?:\sregards|\swishes)?"
    r"|kind\sregards|regards|cheers|sincerely|thanks?|thank\syou"
    r"|you'?re\swelcome|have\sa\s(?:great|nice|good|wonderful)|take\scare|happy\s\w{2,12}ing|enjoy|bye|see\syou"
    r"|congrat\w{0,12}"
    r"|your\s(?:ai|friendly|assistant|tutor|helper)|hopefully|that's\sit|that\sis\sall|and\sthat's\sit|done"
    r"|q\.?e\.?d|easy|simple|voil[aà]|ta-?da|consistent|verified|confirmed|check(?:ed)?"
    r"|i(?:'m|\sam)\s(?:\w{2,12}\s)?(?:confident|certain|sure)|my\sconfidence|confidence|the\sconfidence"
    r"|this\s(?:confidence|includes|excludes|assumes|accounts\sfor|takes\sinto|reflects|is\sbased\son)|note\b|p\.?s\b|n\.?b\b|disclaimer|reminder|tip\b|keep\sin\smind|remember"
    r"|sources?:|references?:|see\salso|follow-?\s?up|want\sto|ask\sme|just\s(?:ask|let)|viel\serfolg|ich\shoffe"
    r"|bonne\schance|n'hésitez|j'espère|espero|si\s(?:necesitas|tienes)"
    r"|avísame|spero|ik\shoop|laat\shet|надеюсь|если\s(?:у\sвас|нужно)|希望|如果(?:您|你)|如有|請|お役に立|何か|도움이|더\s궁금|فى\sحال"
    r"|إذا\sكان|अगर\sआप)"
)
_CHECK = re.compile(
    r"(?:(?:let(?:'s|\sus|\sme)\s|we\s(?:can\s)?|to\s|quick\s|as\sa\s|double[\s-]|sanity\s|now\s)*(?:check(?:ing|ed)?"
    r"|verif\w{1,8}|confirm\w{0,4}|double[\s-]check|proof|prüfung|probe|vérification|comprobación)\b)"
)
_OTHERWISE = re.compile(
    r"(?:(?:and|but|or|note(?:\sthat)?|however|alternatively|of\scourse)?[,:]?\s?)(?:if|unless|with(?:out)?|had"
    r"|were|assuming|suppose|including|excluding|otherwise|(?:even\s)?counting)\b[^.]*\b(?:would|could|might)\b"
    r"|[^.]*\b(?:would|could|might)\s(?:have\s)?(?:be(?:en)?|get|become|rise|change)\b[^.]*\b(?:if|unless"
    r"|with(?:out)?)\b"
)


def is_remark(sentence: str) -> bool:
    """Whether a folded sentence only takes leave, offers help, comments or asks something back."""
    bare = sentence.strip(" \t\n*_#>-–—()[]\"'`~.…!✅👍😊🙂🎉")
    if not bare or not any(c.isalnum() for c in bare):
        return True
    if sentence.rstrip(" *_)\"'").endswith(("?", "？")):
        return True
    if "confiden" in bare and _ABOUT_CONFIDENCE.search(bare) and "answer" not in bare:
        return True
    return _REMARK.match(bare) is not None and not _STATES.search(bare)


_ABOUT_CONFIDENCE = re.compile(
    r"\b(?:confidence\s(?:level|score|rating)|level\sof\sconfidence|my\sconfidence|i(?:'m|\sam)\s(?:\w{2,12}ly\s"
    r"|very\s)?confident)\b(?!\sinterval)"
)
_STATES = re.compile(
    r"^(?:thank|best|note|check|easy|simple|enjoy|done)\w*\b[^.]*=\s?\S|^best\s(?:answer|choice|option)"
)


def is_check(sentence: str) -> bool:
    """Whether a folded sentence verifies what was found before: "Check: 3 * 4 = 12"."""
    return _CHECK.match(sentence.strip(" \t\n*_#>-(✅✓✔")) is not None


def is_hypothetical(sentence: str) -> bool:
    """Whether a folded sentence says how it would be otherwise, or how others see it; a computation does not."""
    bare = sentence.strip(" \t\n*_(")
    if "=" in bare:
        return False
    modal = "would" in bare or "could" in bare or "might" in bare
    return _OTHERS.search(bare) is not None or (modal and _OTHERWISE.match(bare) is not None)
