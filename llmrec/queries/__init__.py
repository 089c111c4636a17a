"""Search queries made from item text, for logs that hold none.

Separate from the search task, so that the declared rule by which words come from items can be read, tested and matched without prompts or models.

    item       Heat (1995)   genres: Action, Crime
    keywords   "crime 1995"                                             every word stands in at least 20 items
    sentence   "something gritty like The Untouchables, not too long"   attribute words, another item that shares some, a mood
"""

from llmrec.queries.maker import QueryMaker, reason_absent
from llmrec.queries.wordings import WORDINGS

__all__ = ["WORDINGS", "QueryMaker", "reason_absent"]
