"""What to do about a row that is no JSON or no CSV: by what its parser found, and where."""

import csv
import re

NOT_UTF8, SAVE_AS_UTF8 = "not UTF-8", "; save the file as UTF-8"
OBJECT = 'expected a JSON object such as {"question": "..."}; write one on each line'
QUOTES = 'expected double quotes, as in {"question": "..."}; write them so'
WORDS = "expected JSON's own words; write null, true or false"
JSON_ADVICE: tuple[tuple[str, str, str], ...] = (  # a part of the message, how the text goes on there, the advice
    ("truncated", "", "expected a whole object on one line; is the line cut off?"),
    ("keys must be strings", "", QUOTES),
    ("trailing comma", "", "expected none; remove the comma"),
    ("trailing characters", ",", "expected none; remove the comma, or put all rows into an array: [..., ...]"),
    ("trailing characters", "", "expected one object on a line; put what follows it on a line of its own"),
    ("expected ',' or", "", r"expected a comma or the end there; write a quotation mark inside of a text as \""),
    ("invalid escape", "", r"expected \\ for a backslash; write it twice"),
    ("invalid character", "(?:NaN|nan|Infinity|None|True|False|undefined)", WORDS),
    ("invalid character", "['‘’“”„`]", QUOTES),
    ("invalid character", r"[\x00-\x1f]", r"expected no control character inside of a text; write \n or \t"),
    ("out of range", "", "expected a number that is not so large; correct it"),
)
CSV_ADVICE = (
    ("expected after", 'write a quotation mark inside of quotes twice: ""'),
    ("unexpected end of data", "close the quotation mark that this row opens"),
    ("field larger", "split the field, or is a quotation mark not closed?"),
    ("NUL", "save the file as text in UTF-8"),
)
_PLACE = re.compile(r"\(byte (\d+)\)")


def not_json(error: Exception, data: bytes) -> str:
    """What is wrong with a line of JSON, what is expected, and what to do."""
    if isinstance(error, UnicodeDecodeError):
        return f"{NOT_UTF8} ({error.reason}){SAVE_AS_UTF8}"
    message = str(error).removeprefix("JSON is malformed: ")
    return f"not JSON ({message}), {_advice(message, data) if data.startswith(b'{') else OBJECT}"


def _advice(message: str, data: bytes) -> str:
    place = _PLACE.search(message)
    at = int(place[1]) - message.startswith("trailing characters") if place else 0  # told is the byte behind it
    rest = data[at : at + 16].decode("utf-8", "replace")
    found = (advice for part, text, advice in JSON_ADVICE if part in message and re.match(text, rest))
    return next(found, f"expected JSON; correct it at {rest[:8]!r}")


def not_csv(error: csv.Error) -> str:
    """The same of a row of CSV."""
    advice = next((advice for part, advice in CSV_ADVICE if part in str(error)), "correct the row")
    return f"not CSV ({error}), expected a row; {advice}"
