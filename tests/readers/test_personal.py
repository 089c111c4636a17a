"""Personal data in texts: what is taken out, and what merely looks alike."""

import polars as pl
import pytest

from llmrec.readers.personal import redacted


@pytest.mark.parametrize(("text", "left"), [
    ("mail ann.b+c@example.co.uk now", "mail [removed] now"), ("+1.555.123.4567", "[removed]"), ("+49\u00a030\u00a01234567", "[removed]"), ("card 4111-1111-1111-1111!", "card [removed]!"), ("5555555555554444", "[removed]"),
    ("978-0-306-40615-7", None), ("4006381333931", None), ("years 2001 2002 2003 2004", None), ("1600000000001", None), ("@home, 5+5", None),
])
def test_personal_data_are_taken_out_and_what_merely_looks_alike_stays(text, left):
    frame = pl.DataFrame({"review": [text, None, "fine"], "tags": [[text, "x"], [], None]})
    found, count = redacted(frame, ["review", "tags", "gone"])
    expected = text if left is None else left
    assert found["review"].to_list() == [expected, None, "fine"] and found["tags"].to_list() == [[expected, "x"], [], None] and count == (0 if left is None else 2)
