"""Finds leaks, where a result would be wrong and nobody would see it: of a split log (called by prepare), of held-out questions, and of models and their answers (called by eval)."""
