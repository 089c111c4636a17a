"""A trained model that answers: `answering` turns requests into predictions, `combining` is what stands behind them, `folder` what it consists of on disk."""

from llmrec.recommender.answering import Recommender, where_mask
from llmrec.recommender.combining import Backing, Combiner, Fitted
from llmrec.recommender.folder import Layout, audit_hash, load_task_templates, prepare_model, prompt_room, renew, save_recommender, vocabulary_of

__all__ = ["Backing", "Combiner", "Fitted", "Layout", "Recommender", "audit_hash", "load_task_templates", "prepare_model", "prompt_room", "renew", "save_recommender", "vocabulary_of", "where_mask"]
