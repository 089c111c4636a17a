"""The house rules, checked on the syntax of every file: who may import whom, what never stands in the code, what is packed."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# Each module or package of llmrec, and the two folders of things to launch, with its floor: it imports lower floors only. docs/architecture.md shows the same.
FLOORS = {
    "answers": 0, "assets": 0, "bases": 0, "calibration": 0, "exits": 0, "inspection": 0, "interactions": 0, "lexical": 0, "metrics": 0, "parquet": 0, "plots": 0, "simulation": 0, "steady": 0, "templates": 0, "vocabulary": 0,
    "words": 0,
    "collaborative": 1, "config": 1, "consensus": 1, "content": 1, "encoders": 1, "evidence": 1, "grounding": 1, "indexing": 1, "model": 1, "predictions": 1, "publishing": 1, "queries": 1, "readers": 1, "splits": 1, "timelines": 1,
    "baselines": 2, "composer": 2, "decoding": 2, "exam": 2, "launch": 2, "naming": 2, "quotations": 2, "results": 2,
    "affinities": 3, "evaluation": 3, "expectations": 3, "memory": 3, "precedents": 3, "tasks": 3,
    "audit": 4, "citing": 4, "mixture": 4, "objective": 4, "recommender": 4, "report": 4,
    "generate": 5, "prepare": 5, "train": 5, "eval": 5,
}
# May import torch and what needs it when they are loaded; nobody else reaches it, whatever way the imports go.
STARRED = {"bases", "decoding", "encoders", "mixture", "model", "objective", "recommender", "steady", "train"}
TORCH = {"torch", "transformers", "peft", "accelerate", "safetensors.torch"}

# Imports of the same floor, outside one's own package.
NEIGHBOURS = {
    ("bases", "inspection"): "what a library is about to open is looked at first; models of ours are looked at whole, higher up",
    ("objective", "mixture"): "the loss reads the token batches that the mixture makes; a floor for one type would say less",
}
# Imports that do not stand at the top of their module.
LATE_IMPORTS = {
    ("llmrec", "__getattr__"): "Recommender needs torch; `import llmrec` and its version do not",
    ("llmrec.baselines.peter", "PETER._fit"): "torch, for those who fit this model",
    ("llmrec.baselines.peter", "PETER._answer"): "torch, for those who fitted this model",
    ("llmrec.baselines.sasrec", "SASRec._learn"): "torch, for those who fit this model",
    ("llmrec.baselines.sasrec", "SASRec.score"): "torch, for those who fitted this model",
    ("llmrec.content", "_components"): "scikit-learn, for who fits content; who answers only reads it",
    ("llmrec.model", "LanguageModel.add_adapter"): "PEFT takes longer to import than a small model to answer: for training alone",
    ("llmrec.parquet", "batches"): "pyarrow, for Parquet files of others alone",
    ("llmrec.parquet", "_opened"): "pyarrow, for Parquet files of others alone",
    ("llmrec.recommender.folder", "_load_plain"): "PEFT, for folders without merged weights alone",
    ("llmrec.generate", "main"): "--help answers without torch",
    ("llmrec.generate", "_records"): "polars and pyarrow, for requests in Parquet alone",
    ("llmrec.generate", "_fingerprint"): "--help answers without torch",
    ("llmrec.results", "_to_parquet"): "polars, for results in Parquet alone",
    ("llmrec.prepare", "main"): "--help answers without polars, and only a model needs torch",
    ("train.pretrain", "main"): "--help answers without torch",
    ("train.finetune", "main"): "--help answers without torch",
    ("train.refit", "main"): "--help answers without torch",
    ("train.tune", "tune"): "an optional library, for searches alone",
    ("train.journal", "Journal.__init__"): "tensorboard, for runs that write it",
    ("eval.run", "main"): "--help answers without torch and polars",
    ("eval.compare", "main"): "--help answers without polars",
    ("eval.alone", "main"): "--help answers without torch and polars",
    ("eval.recheck", "main"): "an optional library, and --help answers without polars",
    ("eval.scaling", "main"): "--help answers without pydantic",
    ("eval.trainings", "_parameters"): "needed after a training alone",
    ("eval.ablation", "main"): "--help answers without polars or torch",
    ("eval.ablation", "load_variants"): "--help answers without YAML",
    ("eval.scaling", "_figure"): "matplotlib, after all trainings",
    ("eval.membership", "main"): "--help answers without torch and polars",
    ("eval.faithful", "main"): "--help answers without torch and polars",
    ("eval.honesty", "sentiment_analyser"): "an optional library",
    ("eval.wordings", "main"): "--help answers without torch and polars",
    ("eval.wordings", "losses_table"): "--help answers without numpy",
    ("eval.show", "main"): "--help answers without torch and polars",
    ("benchmarks.trie", "Static.__init__"): "the peer is a clone that need not be there",
}
# Comparisons with a word that is also a task's name; what is compared, as it is written. A `family` is one of metrics, not a task.
NOT_TASKS = {
    ("llmrec.audit.log", "figure"): "the audited columns: figures and texts",
    ("llmrec.composer", "name"): "a slot of a template",
    ("llmrec.readers.table", "name"): "a column of numbers",
    ("llmrec.timelines", "kind"): "an event of the log that a yes/no question asks for",
}
AT_LOAD = ("", "a block")  # places of an import that runs when its module is loaded
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "torch.load", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"}
FORBIDDEN_METHODS = {"extractall", "read_pickle", "load_state", "register_for_checkpointing", "load_checkpoint_in_model", "load_checkpoint_and_dispatch"}
FORBIDDEN_ARGUMENTS = {"shell", "trust_remote_code", "allow_pickle"}
LOADERS = {"kind.from_pretrained": "llmrec/bases.py", "PeftModel.from_pretrained": "llmrec/recommender/folder.py", "Recommender.from_pretrained": ""}
"""The wrapper's own, adapters of a folder that was verified, and ours; and in which files."""
COLUMNS_TOO = {"rating", "click", "purchase"}  # task names that are columns and events of a log as well


class Import(NamedTuple):
    """One imported module. late: the function it stands in, "" at the top of a module, "a block" in an `if` or `try` there."""

    target: str
    late: str


@cache
def sources() -> dict[str, Path]:
    """Every module of the product by its dotted name; packages by theirs."""
    found = {}
    for top in ("llmrec", "train", "eval", "benchmarks"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def everything() -> list[Path]:
    """The files of the product and of its tests."""
    return [*sources().values(), *sorted((ROOT / "tests").rglob("*.py"))]


def nodes(root: ast.AST, inside: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every node with the function or method it stands in, or "a block" of the module, or ""."""
    for child in ast.iter_child_nodes(root):
        yield child, inside
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from nodes(child, f"{inside}.{child.name}".lstrip("."))
        else:
            yield from nodes(child, inside or ("a block" if isinstance(child, ast.stmt) else ""))


@cache
def imports(name: str) -> tuple[Import, ...]:
    """What a module imports: modules of ours by their full name, a name out of a module as the module."""
    path, found = sources()[name], []
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node, inside in nodes(tree(path)):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module
            deeper = [f"{base}.{alias.name}" for alias in node.names]
            found += [Import(full if full in sources() else base, inside) for full in deeper]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module", "__import__"):
            found.append(Import(ast.unparse(node.args[0]).strip("'"), inside or "a block"))
    return tuple(dict.fromkeys(found))


def ours(name: str) -> list[Import]:
    return [found for found in imports(name) if found.target in sources()]


def unit(name: str) -> str:
    """The entry of FLOORS a module belongs to; "" for the root of llmrec."""
    parts = name.split(".")
    return ("" if len(parts) == 1 else parts[1]) if parts[0] == "llmrec" else parts[0]


def starred(name: str) -> bool:
    return unit(name) in STARRED


def floor(name: str) -> int:
    return FLOORS[unit(name)] if unit(name) else 0


def loaded_with(name: str) -> set[str]:
    """Every module of ours that importing this one loads: what it imports at its top, and the packages those stand in."""
    seen, waiting = set(), [name]
    while waiting:
        parts = waiting.pop().split(".")
        for loaded in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):
            if loaded in sources() and loaded not in seen:
                seen.add(loaded)
                waiting += [found.target for found in ours(loaded) if found.late in AT_LOAD]
    return seen


def test_every_module_has_its_floor_and_every_floor_its_modules():
    there = {unit(name) for name in sources()} - {""}
    assert there - set(FLOORS) - {"benchmarks"} == set(), "give it a floor in FLOORS, and a line in docs/architecture.md"
    assert set(FLOORS) - there == set(), "no such module any more"
    assert set(FLOORS) >= STARRED


def test_modules_import_lower_floors_only():
    wrong = [
        f"{name} (floor {floor(name)}) imports {found.target} (floor {floor(found.target)})"
        for name in sources() if unit(name) not in ("", "benchmarks")
        for found in ours(name)
        if unit(found.target) != unit(name) and floor(found.target) >= floor(name) and (unit(name), unit(found.target)) not in NEIGHBOURS
        and not (unit(found.target) == "" and found.target == "llmrec")
    ]
    assert wrong == []


def test_named_neighbours_are_neighbours():
    used = {(unit(name), unit(found.target)) for name in sources() for found in ours(name)}
    for first, second in NEIGHBOURS:
        assert (first, second) in used, "no such import any more"
        assert FLOORS[first] == FLOORS[second]


def test_the_library_knows_nothing_of_what_is_launched():
    wrong = [f"{name} imports {found.target}" for name in sources() if name.startswith("llmrec") for found in imports(name)
             if found.target.split(".")[0] in ("train", "eval", "tests", "benchmarks")]
    assert wrong == []


def test_a_package_imports_its_siblings_never_itself():
    """Through its own `__init__` a module would load, and depend on, all of its package."""
    wrong = [
        f"{name} imports {found.target}"
        for name in sources() for found in ours(name) if name.startswith(f"{found.target}.") and found.target not in ("llmrec", "train", "eval")
    ]
    assert wrong == []


def test_no_import_runs_in_a_circle():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name):], name])
        if name not in done:
            for found in ours(name):
                if found.target != "llmrec":  # the root holds the version and loads nothing
                    visit(found.target, (*path, name))
            done.add(name)

    for name in sources():
        if name != "llmrec":
            visit(name, ())


def test_imports_stand_at_the_top():
    late = {(name, found.late) for name in sources() for found in imports(name) if found.late}
    assert late - set(LATE_IMPORTS) == set(), "import at the top of the module, or give the reason in LATE_IMPORTS"
    assert set(LATE_IMPORTS) - late == set(), "no such import any more"


def test_modules_without_a_star_never_reach_torch():
    wrong = []
    for name in sources():
        if not starred(name) and unit(name) != "benchmarks":
            for loaded in loaded_with(name):
                wrong += [f"{name} loads {loaded}, which imports {found.target}" for found in imports(loaded)
                          if found.late in AT_LOAD and (found.target.split(".")[0] in TORCH or found.target in TORCH)]
    assert wrong == []


@pytest.mark.slow
def test_modules_without_a_star_leave_torch_unloaded():
    """The same for libraries of others: none of those we load brings torch along."""
    names = [name for name in sources() if not starred(name) and unit(name) != "benchmarks"]
    code = f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\nprint([name for name in {sorted(TORCH)!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("path", everything(), ids=lambda path: str(path.relative_to(ROOT)))
def test_module(path):
    """What holds for every file: a docstring, a name that says what it owns, no TYPE_CHECKING, nothing that runs what data holds."""
    assert path.stem not in ("utils", "helpers", "common", "misc")
    assert path.parent.name not in ("utils", "helpers", "common", "misc")
    assert ast.get_docstring(tree(path)), "say what the module is and why it is separate"
    assert list(complaints(tree(path), place=str(path.relative_to(ROOT)))) == []


def complaints(module: ast.Module, *, place: str) -> Iterator[str]:
    """What a file has in it that may run what data holds, however it is imported: as called, or only named."""
    full = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            full |= {alias.asname: alias.name for alias in node.names if alias.asname}
        if isinstance(node, ast.ImportFrom) and not node.level:
            full |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(module):
        where = f"{place}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            named = f"{full.get(first, first)}{dot}{rest}"
            if named.rpartition(".")[2] == "TYPE_CHECKING" or named in FORBIDDEN_CALLS and (dot or isinstance(node.ctx, ast.Load)) or named.split(".")[0] in FORBIDDEN_MODULES or dot and named.rpartition(".")[2] in FORBIDDEN_METHODS:
                yield f"{where} names {named}"
            if dot and rest.endswith("from_pretrained") and not place.startswith("tests/") and not place.startswith(LOADERS.get(ast.unparse(node), "nowhere")):
                yield f"{where} names {ast.unparse(node)}: load through llmrec.bases.pretrained, which runs no code and takes no name that may change"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if {name.split(".")[0] for name in names} & FORBIDDEN_MODULES or {f"{names[0]}.{alias.name}" for alias in node.names} & FORBIDDEN_CALLS:
                yield f"{where} imports {ast.unparse(node)}"
        if isinstance(node, ast.Call):
            for argument in node.keywords:
                if argument.arg in FORBIDDEN_ARGUMENTS and not (isinstance(argument.value, ast.Constant) and argument.value.value is False):
                    yield f"{where} passes {ast.unparse(argument)}"


@pytest.mark.parametrize("source", [
    "import pickle", "from pickle import loads", "import torch\ntorch.load(x)", "import torch as t\nt.load(x)", "from torch import load", "import torch\nf = torch.load", "eval(x)", "run = exec", "import os\nos.system(x)",
    "import yaml as y\ny.unsafe_load(x)", "archive.extractall()", "take = archive.extractall", "subprocess.run(x, shell=True)", "np.load(x, allow_pickle=yes)", "AutoModel.from_pretrained(x)", "load = AutoModel.from_pretrained",
    "kind = AutoModel\nkind.from_pretrained(x)", "from typing import TYPE_CHECKING\nif TYPE_CHECKING: pass", "import joblib as j",
])
def test_what_is_forbidden_is_found_under_any_name(source):
    assert list(complaints(ast.parse(source), place="llmrec/x.py"))


def test_what_is_allowed_is_not_complained_of():
    assert not list(complaints(ast.parse("import yaml\nyaml.safe_load(x)\nmodel.eval()\nnp.load(x, allow_pickle=False)\nRecommender.from_pretrained(x)"), place="llmrec/x.py"))


def words_of(node: ast.expr) -> set[str]:
    """The string constants of an operand: its own, or those of the tuple, list or set it is."""
    members = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {member.value for member in members if isinstance(member, ast.Constant) and isinstance(member.value, str)}


def task_comparisons(name: str, tasks: set[str]) -> Iterator[tuple[str, int]]:
    """(what is compared with a task's name, line). A membership such as "rating" in columns is passed over: some task names are columns too."""
    for node in ast.walk(tree(sources()[name])):
        if isinstance(node, ast.Compare):
            for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                membership = isinstance(operator, ast.In | ast.NotIn)
                if words_of(left) & (tasks - COLUMNS_TOO if membership else tasks):
                    yield ast.unparse(right), node.lineno
                if words_of(right) & tasks:
                    yield ast.unparse(left), node.lineno
        elif isinstance(node, ast.match_case) and any(isinstance(part, ast.Constant) and part.value in tasks for part in ast.walk(node.pattern)):
            yield "a match statement", node.pattern.lineno


def test_only_tasks_branch_on_a_task():
    tasks = {path.stem for path in (ROOT / "prompts").glob("*.yaml")}
    assert {"next_item", "ranking", "rating", *COLUMNS_TOO} <= tasks
    found = {
        (name, compared): line
        for name in sources() if name.startswith("llmrec.") and unit(name) != "tasks"
        for compared, line in task_comparisons(name, tasks) if compared.rpartition(".")[2] != "family"
    }
    assert {place: line for place, line in found.items() if place not in NOT_TASKS} == {}
    assert set(NOT_TASKS) - set(found) == set(), "no such comparison any more"


def test_prompts_are_words_alone():
    assert {path.suffix for path in (ROOT / "prompts").iterdir() if path.is_file()} == {".yaml"}
    assert not list((ROOT / "prompts").rglob("*.py"))


def test_packages_on_disk_are_packages_in_pyproject():
    packed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for top in ("llmrec", "prompts", "train", "eval") for kind in ("*.py", "*.yaml") for path in (ROOT / top).rglob(kind)}
    there = {".".join(folder.parts if folder.parts[0] == "llmrec" else ("llmrec", *folder.parts)) for folder in folders}
    assert set(packed) == there and len(packed) == len(there)
    missing = [str(path.parent) for path in sources().values() if not (path.parent / "__init__.py").is_file() and path.parent.name != "benchmarks"]
    assert missing == []


def test_the_page_shows_these_floors():
    """docs/architecture.md: one row a module under the heading of its floor, a star where it has one."""
    shown: dict[str, tuple[int, bool]] = {}
    number = None
    for line in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            number = int(line.split()[2].rstrip(":")) if line.startswith("## Floor ") else None
        elif number is not None and line.startswith("| `"):
            name, _, rest = line.removeprefix("| `").partition("`")
            shown[name.rstrip("/")] = (number, rest.split("|")[0].strip() == "*")
    assert shown == {name: (height, name in STARRED) for name, height in FLOORS.items()}
