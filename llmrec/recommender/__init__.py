"""A trained model that answers: `answering` turns requests into predictions, `folder` is what it consists of on disk."""

from llmrec.recommender.answering import Recommender, where_mask
from llmrec.recommender.folder import Layout, audit_hash, load_task_templates, prepare_model, prompt_room, save_recommender, vocabulary_of

__all__ = ["Layout", "Recommender", "audit_hash", "load_task_templates", "prepare_model", "prompt_room", "save_recommender", "vocabulary_of", "where_mask"]
