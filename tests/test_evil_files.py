"""Model folders made to harm: none of what they carry is run, none is taken for a model, and each ends in a sentence within seconds and within bounded memory."""

import json
import subprocess
import sys
import time

import pytest

from llmrec import generate
from llmrec.publishing import publish
from llmrec.recommender import save_recommender
from tests.evil_folders import EVIL, MISSING, bomb, edit, header, opened
from tests.highest_memory import watched

SECONDS, BYTES = 2, 500 << 20


@pytest.fixture
def folder(toy_parts, toy_tokenizer, tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    save_recommender(
        made, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=toy_parts.content, card={}, kind="base",
    )
    return made


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("harm", EVIL, ids=lambda harm: harm.__name__)
def test_an_evil_folder_is_refused_and_runs_nothing(harm, folder, tmp_path, capsys):
    marker = tmp_path / "it-ran"
    harm(folder, marker)
    memory, begun, clock = watched(), time.process_time(), time.monotonic()
    code = generate.main([str(folder), "--task", "next_item", "--k", "3"])
    took, grown, waited = time.process_time() - begun, memory(), time.monotonic() - clock
    said = capsys.readouterr()
    assert not marker.exists()
    assert code == MISSING.get(harm, 4) and said.out == "" and said.err.startswith("error: ") and "Traceback" not in said.err, f"exit {code}: {said.err[-400:]}{said.out[:100]}"
    # In the process's own time, whatever a neighbour on the machine takes; who waits for something takes none of that.
    assert took < SECONDS and waited < 10 * SECONDS and grown < BYTES, f"{took:.1f} s, {waited:.1f} s by the clock, {grown >> 20} MiB"


PLANTED = ["optimizer.bin", "scheduler.bin", "random_states_0.pkl", "custom_checkpoint_0.pkl", "training_args.bin", "pytorch_model.bin", "adapter_model.bin", "vectors.npy", "vectors.npz", "model.joblib", "model.dill", "model.pt"]


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_what_nobody_loads_is_left_alone(folder, tmp_path, capsys):
    """Pickles beside a model's files, chat templates that would loop or reach for Python, names of templates that are paths, tensors without a number: the answer is the same, and nothing runs or is written."""
    asked, marker = [str(folder), "--task", "next_item", "--k", "3"], tmp_path / "it-ran"
    assert generate.main(asked) == 0
    before = capsys.readouterr().out
    for name in PLANTED:
        (folder / name).write_bytes(bomb(marker))
    loop = "{% for a in range(10**9) %}{% for b in range(10**9) %}x{% endfor %}{% endfor %}{{ ''.__class__.__mro__[1].__subclasses__() }}"
    (folder / "chat_template.jinja").write_text(loop)
    edit(folder / "tokenizer_config.json", chat_template=[{"name": "../x", "template": loop}, {"name": "default", "template": loop}])
    entries, payload = opened(folder / "model.safetensors")
    header(folder / "model.safetensors", {**entries, **{f"empty{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(3)}}, payload)
    there = sorted(tmp_path.rglob("*"))
    begun = time.process_time()
    assert generate.main(asked) == 0 and capsys.readouterr().out == before and time.process_time() - begun < SECONDS
    assert sorted(tmp_path.rglob("*")) == there and not marker.exists()


def test_the_bombs_are_live(tmp_path):
    python = [sys.executable, "-c", "import sys; __import__('pickle').loads(sys.stdin.buffer.read())"]
    subprocess.run(python, input=bomb(tmp_path / "it-ran"), check=True)
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_the_folder_the_others_are_made_of_is_a_model(folder, capsys):
    assert generate.main([str(folder), "--task", "next_item", "--k", "3"]) == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 3


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
def test_a_published_folder_is_what_was_published(toy_parts, toy_tokenizer, tmp_path, capsys):
    with publish(tmp_path / "model", hashes=True) as made:
        save_recommender(made, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=toy_parts.content, card={}, kind="base")
    asked = [str(tmp_path / "model"), "--task", "next_item", "--k", "3"]
    (tmp_path / "model" / "README.md").write_text("a card of one's own")
    assert generate.main(asked) == 0
    for name in ("model.safetensors", "item_index.safetensors", "catalog.parquet", "tokenizer.json", "recommender.json", "prompts/next_item.yaml"):
        path = tmp_path / "model" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        assert generate.main(asked) == 4
        assert f"{name} is not " in capsys.readouterr().err
        path.write_bytes(whole)
    assert generate.main(asked) == 0
