"""Free text: greedy writing behind prompts, ours and transformers' own.

    python benchmarks/writing.py
    python benchmarks/writing.py --device cuda
"""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from transformers import LlamaForCausalLM

from benchmarks.measure import Figure, in_turn, options, ratios, record
from benchmarks.models import WORDS, Bench, bench
from llmrec.decoding.reading import Reading
from llmrec.decoding.writing import write

BATCH, LENGTH, TOKENS = 8, 200, 48
END = 2


def ours(side: Bench, prompts: torch.Tensor) -> list[list[int]]:
    return [text for [text] in write(Reading.of(side.model, prompts.tolist()), end=END, forbidden=(), max_tokens=TOKENS)]


@torch.inference_mode()
def transformers(plain: LlamaForCausalLM, prompts: torch.Tensor) -> list[list[int]]:
    found = plain.generate(prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=TOKENS, do_sample=False, pad_token_id=END)
    texts = found[:, prompts.shape[1] :].tolist()
    return [text[: text.index(END)] if END in text else text for text in texts]


def words_alone(side: Bench) -> LlamaForCausalLM:
    """The peer's model without the codes: words are all that may be written."""
    plain = deepcopy(side.plain)
    plain.resize_token_embeddings(WORDS)
    return plain.eval()


def main() -> None:
    arguments = options(__doc__, rounds=7).parse_args()
    side = bench(device=arguments.device)
    prompts = side.prompts(BATCH, LENGTH).clamp(max=WORDS - 1)
    plain = words_alone(side)
    double = side.double()  # random weights are of two minds at every word: in 32 bits a rounding decides
    if ours(double, prompts) != transformers(words_alone(double), prompts):
        raise ValueError("the texts differ")
    seconds = in_turn({"ours": lambda: ours(side, prompts), "transformers": lambda: transformers(plain, prompts)}, rounds=arguments.rounds, device=arguments.device)
    record([Figure.of(f"greedy text, batch {BATCH}, {LENGTH} tokens, {TOKENS} written: times transformers' own", ratios(seconds["ours"], seconds["transformers"]), goal="<= 1.2", device=arguments.device)])


if __name__ == "__main__":
    main()
