"""llmrec: recommendation with one small causal language model, prompt in, recommendation out.

raw files -> readers -> Corpus -> splits -> tasks (+ prompts/, + indexing) -> mixture -> train/ -> Recommender -> decoding -> evaluation.
"""

import os

# Idle OpenMP threads that spin make a tiny training step 100 times slower as soon as a neighbour runs; must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"
__all__ = ["Recommender", "__version__"]


def __getattr__(name: str):
    # Recommender needs torch and transformers: it is loaded on first use, so that `import llmrec` and `--help` stay instant.
    if name == "Recommender":
        from llmrec.recommender import Recommender

        return Recommender
    raise AttributeError(f"module 'llmrec' has no attribute {name!r}; available: {', '.join(__all__)}")
