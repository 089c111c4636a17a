"""How soon a command answers: --help, and the first answer of a small model beside the imports it can't do without.

    python benchmarks/startup.py --model runs/demo/model
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.measure import Figure, in_turn, options, ratios, record, run_measured


def main() -> None:
    parser = options(__doc__, rounds=7, device=False)
    parser.add_argument("--model", required=True, help="a trained model's folder")
    arguments = parser.parse_args()
    python = sys.executable
    seconds = in_turn(
        {
            "help": lambda: run_measured([python, "-m", "llmrec.generate", "--help"]),
            "answer": lambda: run_measured([python, "-m", "llmrec.generate", arguments.model, "--task", "next_item", "--k", "3"]),
            "import": lambda: run_measured([python, "-c", "import torch, transformers"]),
            "import of a model class": lambda: run_measured([python, "-c", "import torch; from transformers import LlamaForCausalLM"]),
        },
        rounds=arguments.rounds,
    )
    record([
        Figure.of("llmrec.generate --help: seconds", seconds["help"], goal="<= 0.3"),
        Figure.of("llmrec.generate, first answer of a small model: times `import torch, transformers`", ratios(seconds["answer"], seconds["import"]), goal="<= 1.5"),
        Figure.of("llmrec.generate, first answer of a small model: times the import of transformers' own model class", ratios(seconds["answer"], seconds["import of a model class"])),
    ])


if __name__ == "__main__":
    main()
