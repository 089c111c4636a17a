"""Trains the base on the event streams and item cards, all parameters:

    accelerate launch -m train.pretrain --config own-data data.corpus=corpora/mine output=runs/mine/base
    torchrun --standalone --nproc_per_node 2 -m train.pretrain --config own-data data.corpus=corpora/mine output=runs/mine/base processes=2

The output is a plain Hugging Face model folder that recommends as it is, and the base of train.finetune. `model.base=FOLDER` goes on from such a folder, with further tasks or
new events of the same catalogue, or begins with any causal LM.
"""

from __future__ import annotations

import sys

from llmrec.launch import arguments, guarded


@guarded
def main(argv: list[str] | None = None) -> None:
    settings = arguments("train.pretrain", __doc__, argv)
    import torch

    from llmrec.assets import folder_of
    from llmrec.bases import add_residual_dropout, create_base
    from llmrec.interactions import Corpus
    from llmrec.tasks import TASKS

    from .items import base_of, model_of
    from .processes import start
    from .setup import bare, corpus_texts, offered, run, templates_of

    accelerator = start(settings)
    corpus = Corpus.load(settings.data.corpus)
    phase = offered(settings.pretrain, corpus)
    made = settings.model
    if made.base == "built-in":
        base = create_base(
            corpus_texts(corpus, folder_of("prompts")), vocabulary=made.vocabulary, width=made.width, layers=made.layers, heads=made.heads, mlp_width=made.mlp_width,
            max_positions=made.max_positions, rope_theta=made.rope_theta, attention_dropout=made.attention_dropout, seed=settings.seed,
        )
    else:
        torch.manual_seed(settings.seed)
        base = base_of(made.base)
    model, index, content = model_of(settings, corpus, base)
    add_residual_dropout(model.base, made.residual_dropout)
    templates = {name: bare(templates_of(name)) for name in phase.tasks}
    # The stream it was trained on ranks candidates, too.
    asked = dict.fromkeys(["next_item", "ranking"] if "next_item" in phase.tasks else []) | dict.fromkeys(name for name in phase.tasks if name in TASKS)
    answers = {name: bare(templates_of(name)) for name in asked}
    run(
        settings, phase, accelerator, corpus=corpus, model=model, base=base, index=index, content=content,
        templates=templates, answers=answers, kind="base", base_name=made.base, base_folder=None,
    )


if __name__ == "__main__":
    sys.exit(main())
