"""What is JSON and what is not, line by line: nothing invalid is taken for a row, nothing valid is refused, and no line ends the run."""

import pytest

from llmrec.readers import table

GOOD = '{"user_id": "u", "item_id": "i"}'
VALID = {
    "space": '\t { "user_id" :\t"u" , "item_id":"i" } ', "escapes": r'{"user_id": "\"\\\/\b\f\n\r\t", "item_id": "i"}', "unicode escapes": r'{"user_id": "\u0075\u00e9\ud83d\ude00", "item_id": "i"}',
    "escaped key": r'{"\u0075ser_id": "u", "item_id": "i"}', "raw unicode": '{"user_id": "é\u2028😀\U0010ffff", "item_id": "i"}', "delete": '{"user_id": "\x7f", "item_id": "i"}', "noncharacter": '{"user_id": "\uffff", "item_id": "i"}',
    "escaped nul": r'{"user_id": "u\u0000", "item_id": "i"}', "empty text": '{"user_id": "", "item_id": "i"}', "empty key": '{"user_id": "u", "item_id": "i", "": 0}', "literals": '{"user_id": "u", "item_id": "i", "a": true, "b": false, "c": null}',
    "integers": '{"user_id": 0, "item_id": -0}', "a long integer": '{"user_id": ' + "9" * 4000 + ', "item_id": "i"}', "numbers": '{"user_id": "u", "item_id": "i", "rating": 1e3, "a": 1E-2, "b": 0.5e+1, "c": -1.5, "d": 123456789012345678901234567890.5}',
    "a nested value nobody wants": '{"user_id": "u", "item_id": "i", "other": [1, {"a": []}]}', "keys twice inside another value": '{"user_id": "u", "item_id": "i", "long": "' + "x" * 100_000 + '"}',
}
INVALID = {
    "nothing but a word": "null", "a number": "1", "a text": '"u"', "a list": "[]", "a list behind the first line": '[{"user_id": "u", "item_id": "i"}]', "two objects": GOOD + GOOD, "a comma behind": GOOD + ",", "a word behind": GOOD + " x",
    "open": '{"user_id": "u"', "open text": '{"user_id": "u', "open list": '{"user_id": "u", "other": [1', "closed twice": GOOD + "}", "closed otherwise": '{"user_id": "u"]', "a comma at the end": '{"user_id": "u", "item_id": "i",}',
    "a comma first": '{,"user_id": "u"}', "two commas": '{"user_id": "u",, "item_id": "i"}', "no comma": '{"user_id": "u" "item_id": "i"}', "no colon": '{"user_id" "u"}', "two colons": '{"user_id":: "u"}', "no value": '{"user_id": }', "no key": '{: "u"}',
    "a number as key": '{1: "u"}', "a bare key": '{user_id: "u"}', "single quotes": "{'user_id': 'u'}", "a comment": GOOD + " // comment", "a comment inside": '{"user_id": "u" /* x */}', "True": '{"user_id": True}', "NULL": '{"user_id": NULL}', "undefined": '{"user_id": undefined}',
    "NaN": '{"user_id": "u", "item_id": "i", "rating": NaN}', "Infinity": '{"user_id": "u", "item_id": "i", "rating": Infinity}', "-Infinity": '{"rating": -Infinity}', "nan": '{"rating": nan}', "a leading zero": '{"user_id": 007}', "a leading plus": '{"rating": +1}',
    "a leading point": '{"rating": .5}', "a trailing point": '{"rating": 5.}', "an empty exponent": '{"rating": 1e}', "a signed exponent alone": '{"rating": 1e+}', "a minus alone": '{"rating": -}', "two minus": '{"rating": --1}', "a minus apart": '{"rating": - 1}',
    "hexadecimal": '{"rating": 0x10}', "underscores": '{"rating": 1_000}', "full width digits": '{"rating": １}', "two points": '{"rating": 1.2.3}', "an exponent with a point": '{"rating": 1e2.5}', "a unit": '{"rating": 5s}',
    "an unknown escape": r'{"user_id": "\x41"}', "an escape cut": '{"user_id": "\\', "a short unicode escape": r'{"user_id": "\u12"}', "no hex in an escape": r'{"user_id": "\u12g4"}', "a raw tab": '{"user_id": "a\tb"}', "a raw control": '{"user_id": "a\x01b"}', "a raw nul": '{"user_id": "a\x00b"}',
    "a byte order mark inside": "\ufeff" + GOOD, "a form feed": "\f" + GOOD, "a no-break space": "\u00a0" + GOOD, "deep lists": '{"other": ' + "[" * 50_000, "deep objects": '{"a":' * 50_000, "a deep list that is closed": '{"other": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "an unclosed escape": '{"user_id": "u\\"}', "a star": '{"user_id": *}', "an assignment": '{"user_id" = "u"}', "semicolons": '{"user_id": "u"; "item_id": "i"}', "yaml": "user_id: u", "csv": "u,i,3", "html": "<html></html>", "python": "dict(user_id='u')",
}


def faults(tmp_path, line):
    path = tmp_path / "log.jsonl"
    path.write_text(GOOD + "\n" + line + "\n" + GOOD + "\n", encoding="utf-8", newline="")
    frame = table.read(path).interactions.collect()
    assert len(frame) == 3
    return frame["fault"].to_list() if "fault" in frame.columns else [None] * 3


@pytest.mark.parametrize("name", VALID)
def test_what_is_json_is_a_row(tmp_path, name):
    assert faults(tmp_path, VALID[name]) == [None] * 3


@pytest.mark.parametrize("name", INVALID)
def test_what_is_not_is_a_rejected_row_and_spoils_no_other(tmp_path, name):
    assert faults(tmp_path, INVALID[name]) == [None, "bad_json", None]


@pytest.mark.parametrize(("line", "reason"), [
    ('{"user_id": "u", "user_id": "u", "item_id": "i"}', "duplicate_key"), ('{"user_id": "u", "item_id": "i", "other": {"a": 1, "a": 2}}', "duplicate_key"), (r'{"user_id": "u", "item_id": "i", "review": "\ud83d"}', "lone_surrogate"),
    (r'{"user_id": "\udc00\ud800", "item_id": "i"}', "lone_surrogate"), ('{"user_id": 1.0, "item_id": "i"}', "ambiguous_id"), ('{"user_id": 1e2, "item_id": "i"}', "ambiguous_id"), ('{"user_id": "u", "item_id": false}', "ambiguous_id"),
    ('{"user_id": ["u"], "item_id": "i"}', "nested_value"), ('{"user_id": "u", "item_id": {}}', "nested_value"),
])
def test_what_is_json_and_no_row_says_why(tmp_path, line, reason):
    assert faults(tmp_path, line) == [None, reason, None]
