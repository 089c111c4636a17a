"""Memory of training: what the loss takes beside weights and gradients as the catalogue grows, and a whole training over a million items.

    python benchmarks/memory.py                    # 1,000,000 items: about ten minutes
    python benchmarks/memory.py --items 100000
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch

from benchmarks.measure import Figure, options, record, run_measured
from benchmarks.models import CODES, catalogue, space_of
from benchmarks.prepare import write_log
from llmrec.answers import ITEMS, Trie
from llmrec.bases import create_base
from llmrec.model import LanguageModel
from llmrec.objective import Objective

WIDTH, SLOTS = 96, 4096
"""Hidden units of the demo's model, and answer tokens of a step."""
ATOMIC, SEMANTIC = (1_000, 10_000, 100_000, 200_000), (10_000, 100_000, 1_000_000)


def loss_peak(index: str, num_items: int) -> int:
    """Bytes that the loss of SLOTS answer tokens and its backward pass add at their peak to the model with its gradients."""
    rng = np.random.default_rng(0)
    codes = np.arange(num_items)[:, None] if index == "atomic" else catalogue(num_items) - catalogue(1).min() // CODES * CODES
    base = create_base(["words"] * 10, vocabulary=300, width=WIDTH, layers=2, heads=2, mlp_width=384, max_positions=512)
    size = base.lm.get_input_embeddings().weight.shape[0]
    codes = codes - codes.min() + size
    trie = Trie.build(codes)
    model = LanguageModel(base.lm, vocabulary_size=size, new_tokens=int(codes.max()) + 1 - size)
    model.set_spaces({ITEMS: space_of(trie)})
    objective = Objective(model, spaces={ITEMS: 0}, num_tasks=1)
    rows = rng.integers(num_items, size=SLOTS // trie.depth)
    paths = trie.paths(rows)
    node = torch.as_tensor(paths[:, :-1].ravel())
    target = torch.as_tensor((paths[:, 1:] - trie.first[paths[:, :-1]]).ravel())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    hidden = torch.randn(len(node), WIDTH, requires_grad=True)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed and not given back would hide what the loss takes
    before = _resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    objective.nll(hidden, node, target, ITEMS, model.rows()).mean().backward()
    return _resident(peak=True) - before - model.learned.nbytes  # a second gradient, before it is added to the first


def _resident(*, peak: bool) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM" if peak else "VmRSS"))
    return int(line.split()[1]) * 1024


def losses() -> None:
    """What the loss takes, at each size of the catalogue."""
    for index, sizes in (("atomic", ATOMIC), ("semantic", SEMANTIC)):
        for size in sizes:
            found = [int(subprocess.run([sys.executable, __file__, "--loss", index, str(size)], check=True, capture_output=True, text=True).stdout) / 1e6 for _ in range(3)]
            record([Figure.of(f"loss of {SLOTS:,} answer tokens, {index} codes, {size:,} items: megabytes beside weights and gradients", found, goal="<= 300" if size >= 100_000 else "")])


def train_peak(index: str, items: int, folder: Path) -> int:
    """Bytes a whole training of the demo's model takes at its peak: content, index, 20 steps, the finished folder."""
    log, catalogue_ = write_log(folder, 1_000_000, items=items)
    subprocess.run([sys.executable, "-m", "llmrec.prepare", "table", "--interactions", str(log), "--items", str(catalogue_), "--out", str(folder / "corpus")], check=True, stdout=subprocess.DEVNULL)
    done = run_measured([
        sys.executable, "-m", "train.pretrain", "--config", "demo", f"data.corpus={folder / 'corpus'}", f"output={folder / 'model'}", f"index={index}", "pretrain.max_steps=20",
        "pretrain.tasks={next_item: .8, item_card: .1, item_text: .1}", "pretrain.validation.metric=next_item/ndcg@10",
    ])
    return done.peak_bytes


def main() -> None:
    parser = options(__doc__, device=False)
    parser.add_argument("--items", type=int, default=1_000_000, help="items of the trained catalogue with semantic codes")
    parser.add_argument("--atomic", type=int, default=200_000, help="items of the trained catalogue with a row each")
    parser.add_argument("--loss", nargs=2, metavar=("INDEX", "ITEMS"), help="prints the bytes of one loss (each is measured in a process of its own)")
    arguments = parser.parse_args()
    if arguments.loss:
        print(loss_peak(arguments.loss[0], int(arguments.loss[1])))
        return
    losses()
    for index, size, goal in (("semantic", arguments.items, "<= 4" if arguments.items >= 1_000_000 else ""), ("atomic", arguments.atomic, "")):
        with tempfile.TemporaryDirectory(dir=Path(__file__).parent.parent / "runs") as name:
            record([Figure.of(f"training of the demo's model, {index} codes, {size:,} items: gigabytes at its peak", [train_peak(index, size, Path(name)) / 1e9], goal=goal)])


if __name__ == "__main__":
    main()
