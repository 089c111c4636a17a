"""next_item: what comes next? The answer is an item of the catalogue, at every position of the stream."""

from __future__ import annotations

from llmrec.tasks.task import StreamTask


class NextItem(StreamTask):
    name = "next_item"
