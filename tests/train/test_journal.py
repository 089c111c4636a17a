"""The log of a run says what its checkpoint knows, however the last process ended."""

import json

import pytest

from train.journal import Journal


@pytest.mark.parametrize("tail", [b"", b'{"step": 9, "lo', b"\x00\x00\x00", b'{"step": 9, "loss": 1.0}', b'{"loss": 1.0}\n{"step": 3, "loss": 1.0}\n'])
def test_a_resumed_log_is_cut_at_the_checkpoint_whatever_its_tail(tmp_path, tail):
    whole = b"".join(json.dumps({"step": step, "loss": 0.5}).encode() + b"\n" for step in (2, 4, 6))
    (tmp_path / "log.jsonl").write_bytes(whole + tail)
    for step, kept in ((7, 3), (6, 3), (5, 2), (1, 0), (0, 0)):
        (tmp_path / "log.jsonl").write_bytes(whole + tail)
        journal = Journal(tmp_path, step, step)
        journal.write(step=step + 1, loss=0.25)
        journal.close()
        steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert steps == [2, 4, 6][:kept] + [step + 1]


def test_figures_of_a_validation_that_the_checkpoint_does_not_know_are_cut(tmp_path):
    """A run that was stopped while it validated, gone on with, and killed behind that validation."""
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ({"step": 4, "loss": 0.5}, {"step": 4, "valid": 0.1}, {"step": 8, "loss": 0.4}, {"step": 8, "valid": 0.2})))
    for validated, kept in ((8, 4), (4, 3), (0, 1)):
        journal = Journal(tmp_path, 8, validated)
        journal.close()
        assert len((tmp_path / "log.jsonl").read_text().splitlines()) == kept
