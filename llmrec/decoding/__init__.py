"""Decoding: prompts in, answers of an answer space out; it knows spaces, never tasks."""
