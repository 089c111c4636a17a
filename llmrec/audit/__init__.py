"""Finds leaks, where a result would be wrong and nobody would see it.

`log`: of a split log (called by prepare).   `examples`: of held-out questions.   `models`: of models and their answers (both called by eval).
"""
