"""Makes anew what stands behind a finished model's answers, and fits it on valid, without training the model:

    python -m train.refit RUN output=NEW
    python -m train.refit RUN output=NEW expectations=true memory=true consensus=true precedents=true

Everything else is as RUN's own settings say, with the same corpus (`data.corpus=DIR` where it has moved). Settings that decide what a model learns are refused: they want a training.
"""

from __future__ import annotations

import argparse
import sys

from llmrec.exits import USAGE, refuse_other_encodings
from llmrec.launch import guarded

CHANGEABLE = ("data.corpus", "output", "overwrite", "threads", "expectations", "memory", "lexical", "consensus", "precedents")


@guarded
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.refit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="RUN", help="the folder of a trained model")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help=f"output=NEW, and of: {', '.join(CHANGEABLE)}")
    options = parser.parse_args(argv)
    refuse_other_encodings()
    for override in options.overrides:
        if override.partition("=")[0] not in CHANGEABLE:
            parser.exit(USAGE, f"train.refit: {override!r} is for a training; a refit takes: {', '.join(CHANGEABLE)}\n")
    if not any(override.startswith("output=") for override in options.overrides):
        parser.exit(USAGE, "train.refit: output is not set; give it as output=NEW\n")
    # After the arguments are read: --help must answer without torch.
    import json
    import logging
    import shlex
    from pathlib import Path

    import torch

    from llmrec.config import load_settings
    from llmrec.interactions import Corpus
    from llmrec.publishing import check_free, publish
    from llmrec.recommender import Fitted, Recommender, renew
    from llmrec.timelines import Timelines

    from .calibrate import calibrated
    from .processes import own_cores
    from .setup import backing_of, settings_yaml

    source = Path(options.model)
    if not (source / "train_config.yaml").is_file():
        parser.exit(USAGE, f"train.refit: {source} holds no train_config.yaml: it is not the folder of a trained model\n")
    settings = load_settings(str(source / "train_config.yaml"), options.overrides)
    check_free(settings.output, overwrite=settings.overwrite)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(settings.threads or own_cores())
    corpus, trained = Corpus.load(settings.data.corpus), Recommender.from_pretrained(source, backing=False)
    if trained.card["data_hash"] != corpus.data_hash:
        raise ValueError(f"{source} was trained on other data (hash {trained.card['data_hash']}) than {settings.data.corpus} ({corpus.data_hash}); give its own corpus as data.corpus=DIR, or train anew")
    timelines = Timelines.of(corpus)
    backing = backing_of(settings, timelines, trained.tasks, index=trained.card["index"])
    phase = settings.pretrain if trained.card["kind"] == "base" else settings.finetune
    again = Recommender(trained.model, trained.composer, trained.templates, backing=backing)
    fitted = calibrated(again, timelines, settings.seed, limit=phase.validation.limit, lexical=settings.lexical, consensus=settings.consensus)
    with publish(settings.output, overwrite=settings.overwrite, hashes=True) as folder:
        renew(folder, source, backing=backing.used(Fitted.of(fitted)), card={**fitted, "refit": shlex.join(sys.argv)})
        (folder / "train_config.yaml").write_text(settings_yaml(settings), encoding="utf-8")
    sys.stdout.write(json.dumps({"output": str(settings.output), **fitted}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
