"""Adapts a base to all tasks with LoRA, and learns the rows of the item codes:

    accelerate launch -m train.finetune --config own-data data.corpus=corpora/mine model.base=runs/mine/base output=runs/mine/model
    torchrun --standalone --nproc_per_node 2 -m train.finetune --config own-data data.corpus=corpora/mine model.base=ORG/NAME@COMMIT output=runs/mine/model processes=2

The base is what train.pretrain wrote (its item codes, content projection and tokenizer are taken over), or any causal LM: a folder, or a hub's ORG/NAME@COMMIT.
"""

from __future__ import annotations

import sys

from llmrec.launch import arguments, guarded


@guarded
def main(argv: list[str] | None = None) -> None:
    settings = arguments("train.finetune", __doc__, argv)
    from pathlib import Path

    import torch

    from llmrec.bases import add_residual_dropout
    from llmrec.interactions import Corpus
    from llmrec.tasks import TASKS

    from .items import base_of, model_of
    from .processes import start
    from .setup import offered, run, templates_of

    made = settings.model
    if made.base == "built-in":
        raise ValueError("model.base is 'built-in'; finetune needs a trained base: run train.pretrain first and give its output, or name a folder, or a hub's ORG/NAME@COMMIT")
    accelerator = start(settings)
    corpus = Corpus.load(settings.data.corpus)
    phase = offered(settings.finetune, corpus)
    torch.manual_seed(settings.seed)
    base = base_of(made.base)
    model, index, content = model_of(settings, corpus, base)
    model.add_adapter(rank=made.lora.rank, alpha=made.lora.alpha, dropout=made.lora.dropout, targets=made.lora.targets)
    add_residual_dropout(model.base, made.residual_dropout)
    templates = {name: templates_of(name) for name in phase.tasks}
    run(
        settings, phase, accelerator, corpus=corpus, model=model, base=base, index=index, content=content,
        templates=templates, answers={name: entries for name, entries in templates.items() if name in TASKS}, kind="adapter", base_name=made.base,
        base_folder=Path(made.base) if Path(made.base).is_dir() else None,
    )


if __name__ == "__main__":
    sys.exit(main())
