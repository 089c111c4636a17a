"""What is installed: llmrec and nothing else, with its words, configs and suites; and it runs from anywhere as it runs from a checkout."""

import ast
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import llmrec

ROOT = Path(__file__).parents[1]
FOLDERS = ("llmrec", "prompts", "train", "eval")
IMPORTED_AS = {"scikit-learn": "sklearn", "PyYAML": "yaml", "ir-measures": "ir_measures"}
INDIRECT = {"protobuf", "tensorboard", "datasets"}
"""Not imported by us: protobuf is loaded by transformers, which reads SentencePiece's models with it, tensorboard by torch.utils.tensorboard; datasets belongs to every installation by decision."""


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements):
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


def imported():
    found = set()
    for path in [path for folder in ("llmrec", "train", "eval") for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"llmrec"}


def test_every_library_that_is_imported_is_declared_and_every_declared_one_is_used():
    declared, extras = names(project()["dependencies"]), set().union(*map(names, project()["optional-dependencies"].values()))
    by_import = {IMPORTED_AS.get(name, name) for name in declared}
    optional = {IMPORTED_AS.get(name, name) for name in extras}
    assert imported() - optional <= by_import
    assert by_import - imported() <= INDIRECT


def test_every_declared_library_has_its_tested_version():
    pinned = names(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#"))
    extras = set().union(*map(names, project()["optional-dependencies"].values()))
    assert names(project()["dependencies"]) | extras <= pinned


def locked():
    """The lines of requirements.lock: name -> (version, hash)."""
    lines = [line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"([a-z0-9-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines]
    assert all(found), "a line of the lock names no file"
    return {line[1]: (line[2], line[3]) for line in found}


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_holds_a_hash_for_everything_that_is_installed_at_the_tested_versions():
    lock = locked()
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {name: lock[normalised(name)][0].partition("+")[0] for name in pinned if normalised(name) in lock} == {name: version for name, version in pinned.items() if normalised(name) in lock}
    wanted, seen = [*project()["dependencies"], *project()["optional-dependencies"]["test"]], set()
    while wanted:  # and what these need in turn
        requirement = Requirement(wanted.pop())
        name = normalised(requirement.name)
        if name in seen or requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        seen.add(name)
        assert name in lock, f"{name} is needed and not locked: run `make lock`"
        wanted += distribution(name).requires or []


# Versions below which a known hole is open, or a known input ends the process; the newest one behind each.
FLOORS = {
    "torch": "2.10.1",  # CVE-2026-4538
    "transformers": "5.10.0",  # CVE-2026-9856
    "accelerate": "1.14.1",  # CVE-2026-69112: an index of shards that names any path; ours is looked at before it is loaded, too
    "datasets": "5.1.1",  # CVE-2026-57845
    "pyarrow": "14.0.1",  # CVE-2023-47248
    "sentencepiece": "0.2.3",  # 0.2.2 aborts on a text that cannot fill the vocabulary
}


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_with_a_known_hole_is_accepted(name):
    allowed = next(Requirement(line).specifier for line in project()["dependencies"] if Requirement(line).name == name)
    floor = Version(FLOORS[name])
    below = [f"{floor.major}.{floor.minor}.{floor.micro - 1}" if floor.micro else f"{floor.major}.{floor.minor - 1}.99", f"{floor.major - 1}.99.99", "0.1"]
    assert not [version for version in below if version in allowed], f"{name}{allowed} lets in versions below {floor}"
    assert Version(locked()[name][0]) >= floor and Version(distribution(name).version) >= floor


def test_nothing_installed_runs_when_python_starts():
    """A .pth file with a line of code does: how stolen packages began their work in 2026."""
    code = [path.name for folder in map(Path, site.getsitepackages()) for path in folder.glob("*.pth") if any(line.startswith("import") for line in path.read_text(errors="replace").splitlines())]
    assert [name for name in code if name != "distutils-precedence.pth" and not name.startswith("__editable__.llmrec-")] == []


def test_every_folder_of_code_is_a_listed_package():
    """A package that is not listed is left out of the wheel, and only the wheel's user notices."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"])
    inside = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "llmrec").rglob("*.py")}
    beside = {".".join(("llmrec", *path.parent.relative_to(ROOT).parts)) for folder in FOLDERS[1:] for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")}
    assert listed == inside | beside


# --- the wheel ---------------------------------------------------------------------------------------------------------------------


def built(tmp_path_factory):
    """The wheel of a copy of the sources: building writes beside them."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--wheel-dir", out, source],
        check=True, capture_output=True, text=True, timeout=300, env={**os.environ, "SOURCE_DATE_EPOCH": "1780000000"},
    )
    found, = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built(tmp_path_factory)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", folder, wheel], check=True, capture_output=True, text=True, timeout=300)
    return folder


@pytest.fixture
def run(installed, tmp_path):
    """Runs a module of the installed wheel from a folder of the user's."""

    def call(*arguments, code=0):
        environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
        assert done.returncode == code, f"exit {done.returncode}, expected {code}\n{done.stderr[-3000:]}"
        return done

    return call


@pytest.mark.slow
def test_the_wheel_holds_the_four_folders_as_one_package_and_nothing_else(wheel):
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "llmrec").rglob("*.py")}
    expected |= {f"llmrec/{path.relative_to(ROOT).as_posix()}" for folder in FOLDERS[1:] for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml")}
    held = zipfile.ZipFile(wheel).namelist()
    about = f"llmrec-{llmrec.__version__}.dist-info"
    assert {name for name in held if not name.startswith(f"{about}/")} == expected
    assert {f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "top_level.txt")} <= set(held)
    assert zipfile.ZipFile(wheel).read(f"{about}/top_level.txt").decode().split() == ["llmrec"]
    assert {"llmrec/prompts/next_item.yaml", "llmrec/train/configs/demo.yaml", "llmrec/eval/suites/standard.yaml"} <= set(held)


@pytest.mark.slow
def test_a_wheel_built_again_elsewhere_is_the_same_file(wheel, tmp_path_factory):
    again = built(tmp_path_factory)
    assert again != wheel and again.name == wheel.name and again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_what_is_installed_is_one_folder(installed):
    assert sorted(path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")) == ["llmrec"]


@pytest.mark.slow
def test_the_installed_package_finds_its_own_folders(run, installed):
    code = "import llmrec; from llmrec.assets import folder_of; print(llmrec.__file__, *(folder_of(name) for name in ('prompts', 'train', 'eval')), sep='\\n')"
    assert run("-c", code).stdout.split("\n")[:4] == [str(installed / "llmrec" / name) for name in ("__init__.py", "prompts", "train", "eval")]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["llmrec.prepare", "llmrec.train.pretrain", "llmrec.train.finetune", "llmrec.train.refit", "llmrec.eval.run", "llmrec.eval.compare", "llmrec.generate"])
def test_every_command_explains_itself_without_torch(run, module):
    code = f"import runpy, sys\nsys.argv = [{module!r}, '--help']\ntry:\n    runpy.run_module({module!r}, run_name='__main__')\nexcept SystemExit as end:\n    assert not end.code\nassert 'torch' not in sys.modules"
    assert "usage: " in run("-c", code).stdout


@pytest.mark.slow
def test_the_installed_package_goes_the_whole_way(run, toy_corpus, tmp_path):
    (tmp_path / "corpus").mkdir()
    toy_corpus.save(tmp_path / "corpus")
    shared = ["--config", "tiny", "data.corpus=corpus", "precision=fp32", "threads=1", "pretrain.max_steps=3", "finetune.max_steps=3"]
    run("-m", "llmrec.train.pretrain", *shared, "output=base")
    run("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "-m", "llmrec.train.finetune", *shared, "model.base=base", "output=model")
    assert len(json.loads(run("-m", "llmrec.generate", "model", "--task", "next_item", "--k", "3").stdout)["items"]) == 3
    run("-m", "llmrec.eval.run", "standard", "--model", "model", "--baseline", "most_popular", "--out", "report", "data.corpus=corpus")
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["rows"]
    assert {"model", "most_popular"} <= {row["model"] for row in rows} and (tmp_path / "report" / "report.html").is_file()
