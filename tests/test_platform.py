"""The same bytes wherever it runs: locales, time zones, masks of new files, hash seeds, odd paths, without a home, without asserts."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHOLE_WAY = """
import json, locale, sys
locale.setlocale(locale.LC_ALL, "")  # as a program may that has us in it: Python alone takes no more than the letters from its surroundings
from pathlib import Path
from eval import run
from llmrec import generate, prepare
from train import finetune, pretrain

here, raw = Path(sys.argv[1]), sys.argv[2]
shared = ["--config", "tiny", f"data.corpus={here / 'corpus'}", "precision=fp32", "threads=1", "model.width=32", "model.mlp_width=64", "pretrain.max_steps=8", "finetune.max_steps=6", "expectations=true", "memory=true"]
for main, arguments in (
    (prepare.main, ["table", "--interactions", f"{raw}/interactions.csv", "--items", f"{raw}/items.csv", "--out", str(here / "corpus"), "--like", "4"]),
    (pretrain.main, [*shared, f"output={here / 'base'}"]), (finetune.main, [*shared, f"model.base={here / 'base'}", f"output={here / 'model'}"]),
    (generate.main, [str(here / "model"), "--input", f"{raw}/requests.jsonl", "--output", str(here / "results.jsonl")]),
    (run.main, ["standard", "--model", str(here / "model"), "--out", str(here / "report"), f"data.corpus={here / 'corpus'}", "resamples=20", "baselines=most_popular,item_knn", "tasks=next_item,rating"]),
):
    if main(arguments):
        sys.exit(1)
report = json.loads((here / "report" / "report.json").read_text(encoding="utf-8"))
kept = {name: report[name] for name in ("rows", "groups", "comparisons", "ties", "counts", "audit")}
(here / "figures.json").write_text(json.dumps(kept), encoding="utf-8")
"""
COMPARED = ("corpus/interactions.parquet", "corpus/items.parquet", "base/model.safetensors", "base/tokenizer.json", "model/adapter_model.safetensors", "model/item_rows.safetensors", "model/memory.safetensors", "results.jsonl", "figures.json")
LONG = "ein Ordner mit Leerzeichen, ümläuten und 中文 " + "x" * 140
VARIANTS: dict[str, dict[str, object]] = {
    "a Turkish locale, a time zone": {"environment": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu"}},
    "no asserts, no locale, no home, a closed mask, hash seed 1, a long path of many scripts": {"flags": ["-O"], "environment": {"LC_ALL": "C", "LANG": "C", "PYTHONHASHSEED": "1"}, "unset": ["HOME", "XDG_CACHE_HOME"], "umask": 0o077, "folder": LONG},
}
MORE = {
    "a German locale": {"environment": {"LC_ALL": "de_DE.UTF-8"}}, "a caches' folder that cannot be written": {"environment": {"HF_HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none", "MPLCONFIGDIR": "/proc/none"}},
    **{f"hash seed {seed}": {"environment": {"PYTHONHASHSEED": str(seed)}} for seed in (0, *range(2, 10))},
    **{f"time zone {zone}": {"environment": {"TZ": zone}} for zone in ("UTC", "America/New_York", "Pacific/Kiritimati")},
}


@pytest.fixture(scope="module")
def locales(tmp_path_factory):
    """The folder of the locales that the variants name, made of the system's sources; they need not be installed."""
    folder = tmp_path_factory.mktemp("locales")
    for name in ("tr_TR", "de_DE"):
        try:
            subprocess.run(["localedef", "-i", name, "-f", "UTF-8", str(folder / f"{name}.UTF-8")], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no locale can be made here: {error}")
    return folder


def go(folder, raw, *, environment=None, unset=(), umask=0o022, flags=()):
    """The hashes of what one run of the whole way leaves."""
    folder.mkdir(parents=True)
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", **(environment or {})}
    for name in unset:
        surroundings.pop(name, None)
    done = subprocess.run([sys.executable, *flags, "-c", WHOLE_WAY, str(folder), str(raw)], env=surroundings, cwd=folder, capture_output=True, text=True, errors="replace", timeout=300, umask=umask)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in COMPARED if (folder / name).exists()}


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A table of events and one of items, with letters that locales disagree about, and requests."""
    folder = tmp_path_factory.mktemp("raw")
    items = [f"İstanbul Iğdır {n}" if n % 3 == 0 else f"Straße ÆØÅ {n},5" if n % 3 == 1 else f"夏天的海 {n}" for n in range(12)]
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f'i{n},"{title}"\n' for n, title in enumerate(items)), encoding="utf-8")
    rows = [f"u{user},i{(user * 5 + n * 7) % 12},{1 + (user + n) % 5},{1_600_000_000 + 40_000 * n + user}" for user in range(20) for n in range(7)]
    (folder / "interactions.csv").write_text("user_id,item_id,rating,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (folder / "requests.jsonl").write_text("".join(json.dumps({"id": str(n), "history": ["i1", "i4"][: n % 3], "k": 5, **({"task": "search", "query": "İstanbul straße 夏天"} if n % 2 else {})}) + "\n" for n in range(8)), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def plain(raw, tmp_path_factory):
    return go(tmp_path_factory.mktemp("plain") / "run", raw)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*VARIANTS, *(pytest.param(name, marks=pytest.mark.nightly) for name in MORE)])
def test_every_surrounding_gives_the_same_bytes(plain, raw, tmp_path, counted, name, request):
    variant = dict({**VARIANTS, **MORE}[name])
    if "locale" in name and "no locale" not in name:
        variant["environment"] = {**variant["environment"], "LOCPATH": str(request.getfixturevalue("locales"))}
    folder = tmp_path / str(variant.pop("folder", "run"))
    found = go(folder, raw, **variant)
    bad = [each for each in COMPARED if found.get(each) != plain.get(each)]
    counted(f"Files that differ with {name}", len(bad), len(plain))
    assert plain.keys() == set(COMPARED) and not bad


def test_where_names_of_files_are_no_utf_8_every_command_says_so(tmp_path):
    """A locale of another encoding, or none and Python's own remedies switched off."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for module, *arguments in (
        ("llmrec.prepare", "simulation", "--path", tmp_path / "world", "--out", tmp_path / "corpus"), ("llmrec.generate", tmp_path, "--task", "next_item"),
        ("train.pretrain", f"data.corpus={tmp_path}", f"output={tmp_path / 'base'}"), ("eval.run", "standard", "--model", tmp_path, "--out", tmp_path / "report"),
    ):
        done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], env=surroundings, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "set PYTHONUTF8=1" in done.stderr and "Traceback" not in done.stderr, (module, done.stderr)
