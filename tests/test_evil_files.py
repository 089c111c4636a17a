"""Model folders made to harm: none of what they carry is run, none is taken for a model, and each ends in a sentence within seconds and within bounded memory."""

import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import safetensors.numpy as numpy_safetensors
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from llmrec import generate
from llmrec.bases import load_lm
from llmrec.interactions import Catalog
from llmrec.precedents import Precedents
from llmrec.predictions import HeldOut, Request
from llmrec.publishing import publish
from llmrec.recommender import save_recommender

SECONDS, BYTES = 2, 500 << 20


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def bomb(marker) -> bytes:
    """The same as the bytes of a pickle, written by hand."""
    return f"cbuiltins\nopen\n(V{marker}\nVw\ntR.".encode()


@pytest.fixture
def folder(toy_parts, toy_tokenizer, tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    save_recommender(
        made, model=toy_parts.model, tokenizer=toy_tokenizer, index=toy_parts.index, composer=toy_parts.composer, templates=toy_parts.templates, content=toy_parts.content, card={}, kind="base",
    )
    return made


def edit(path: Path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def header(path: Path, entries: dict | bytes, payload: bytes = b""):
    """A safetensors file with this header."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + payload)


def pickled_weights(folder, marker):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(bomb(marker))


def pickle_named_safetensors(folder, marker):
    (folder / "model.safetensors").write_bytes(bomb(marker))


def torch_named_safetensors(folder, marker):
    torch.save({"weight": Bomb(marker)}, folder / "model.safetensors")


def pickled_rows(folder, marker):
    (folder / "item_index.safetensors").write_bytes(bomb(marker))


def code_in_config(folder, marker):
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    edit(folder / "config.json", auto_map={"AutoConfig": "modeling_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}, model_type="evil")


def code_in_nested_config(folder, marker):
    (folder / "modeling_evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    edit(folder / "config.json", model_type="evil", text_config={"model_type": "evil", "trust_remote_code": True, "auto_map": {"AutoConfig": "modeling_evil.Evil"}})


def code_in_tokenizer(folder, marker):
    (folder / "tok.py").write_text(f"open({str(marker)!r}, 'w')\nclass Tok: pass\n")
    edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tok.Tok", None]}, tokenizer_class="Tok")
    (folder / "tokenizer.json").unlink()


def shards_outside(folder, marker, name="../outside.safetensors"):
    shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(names, name)}))


def shards_at_a_path(folder, marker):
    shards_outside(folder, marker, str(folder.parent / "outside.safetensors"))


def shards_in_a_pickle(folder, marker):
    shards_outside(folder, marker, "evil.bin")
    (folder / "evil.bin").write_bytes(bomb(marker))


def weights_through_a_pipe(folder, marker):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def weights_without_end(folder, marker):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("/dev/zero")


def header_of_two_gigabytes(folder, marker):
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2 << 30) + b"{" * 100)


def header_of_negative_length(folder, marker):
    (folder / "model.safetensors").write_bytes(struct.pack("<q", -1) + b"{}")


def header_of_no_json(folder, marker):
    header(folder / "model.safetensors", b"\xff" * 64)


def tensors_that_overlap(folder, marker):
    header(folder / "model.safetensors", {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in ("a", "b")}, b"\0" * 16)


def tensors_with_a_hole(folder, marker):
    header(folder / "model.safetensors", {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}, b"\0" * 12)


def a_tensor_beyond_the_end(folder, marker):
    header(folder / "model.safetensors", {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, b"\0" * 16)


def a_shape_that_overflows(folder, marker):
    header(folder / "model.safetensors", {"a": {"dtype": "F32", "shape": [1 << 62, 8], "data_offsets": [0, 16]}}, b"\0" * 16)


def weights_of_another_shape(folder, marker):
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor[:1].contiguous() for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def weights_that_are_missing(folder, marker):
    weights = load_file(folder / "model.safetensors")
    save_file(dict(list(weights.items())[:1]), folder / "model.safetensors", {"format": "pt"})


def weights_that_are_no_numbers(folder, marker):
    weights = load_file(folder / "model.safetensors")
    save_file({name: torch.full_like(tensor, float("nan")) for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"})


def a_config_of_a_giant(folder, marker):
    edit(folder / "config.json", hidden_size=1 << 20, intermediate_size=1 << 22, num_hidden_layers=4096, vocab_size=1 << 24)


def a_config_of_negative_size(folder, marker):
    edit(folder / "config.json", hidden_size=-8)


def yaml_that_constructs(folder, marker):
    (folder / "prompts" / "next_item.yaml").write_text(f"!!python/object/apply:builtins.open [{str(marker)!r}, 'w']\n")


def yaml_of_laughs(folder, marker):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (folder / "prompts" / "next_item.yaml").write_text("\n".join(lines) + "\n")


def a_deep_card(folder, marker):
    (folder / "recommender.json").write_text('{"format":' * 100_000)


def a_tokenizer_of_another_kind(folder, marker):
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}, "added_tokens": []}))


def a_task_that_is_a_path(folder, marker):
    edit(folder / "recommender.json", tasks=["../../etc/passwd"])


def an_index_of_fewer_codes(folder, marker):
    edit(folder / "item_index.json", new_tokens=3)


def vectors_that_are_no_numbers(folder, marker):
    tensors = load_file(folder / "item_index.safetensors")
    save_file({**tensors, "vectors": torch.full_like(tensors["vectors"], float("inf"))}, folder / "item_index.safetensors")


def a_base_that_is_fetched(folder, marker):
    save_file({}, folder / "adapter_model.safetensors")
    edit(folder / "recommender.json", kind="adapter", base="somebody/evil")


def precedents_beyond_the_end(folder, marker):
    _with_precedents(folder)
    path = folder / "precedents" / "review_summary.safetensors"
    arrays = numpy_safetensors.load_file(path)
    numpy_safetensors.save_file({**arrays, "questions": arrays["questions"] + 2_000_000_000}, path)


def precedents_that_are_no_texts(folder, marker):
    _with_precedents(folder)
    edit(folder / "precedents" / "review_summary.json", texts=[5, None])


def a_memory_beyond_the_catalogue(folder, marker):
    size = len(Catalog.load(folder / "catalog.parquet"))
    numpy_safetensors.save_file({"values": np.ones(1, np.float32), "items": np.array([2_000_000_000], np.int32), "starts": np.r_[0, np.ones(size, np.int64)]}, folder / "memory.safetensors")
    (folder / "memory.json").write_text(json.dumps({"format": 3, "own_vote": 0.0, "decay": 1.0}))


def _with_precedents(folder):
    Precedents.of([HeldOut(Request(task="review_summary", review=f"a review {n}"), f"summary {n}") for n in range(2)]).save(folder, "review_summary")


def an_adapter_in_a_pickle(folder, marker):
    shutil.copytree(folder, folder / "base")
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 4, "target_modules": ["q_proj"], "base_model_name_or_path": "base"}))
    (folder / "adapter_model.bin").write_bytes(bomb(marker))
    edit(folder / "recommender.json", kind="adapter", base=str(folder / "base"))


def shards_through_a_pipe(folder, marker):
    shards_outside(folder, marker, "pipe.safetensors")
    os.mkfifo(folder / "pipe.safetensors")


def a_tensor_twice(folder, marker):
    path = folder / "model.safetensors"
    entries, payload = opened(path)
    name = next(name for name in entries if name != "__metadata__")
    header(path, json.dumps(entries)[:-1].encode() + b", " + json.dumps({name: entries[name]})[1:].encode(), payload)


def a_name_twice_among_many(folder, marker):
    names = b",".join(b'"%05x":0' % n for n in range(700_000))
    header(folder / "model.safetensors", b"{" + names + b',"%05x":0}' % 699_999)


def a_million_tensors(folder, marker):
    header(folder / "model.safetensors", {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(1_000_000)})


def a_tokenizer_of_500_megabytes(folder, marker):
    os.truncate(folder / "tokenizer.json", 500 << 20)


def a_tokenizer_that_takes_for_ever(folder, marker):
    edit(folder / "tokenizer.json", pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False})


def a_listing_of_files_outside(folder, marker, name="../outside.safetensors"):
    shutil.copy(folder / "model.safetensors", folder.parent / "outside.safetensors")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "files.json").write_text(json.dumps({"files": {name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}}}))


def a_link_among_published_files(folder, marker):
    a_listing_of_files_outside(folder, marker, "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder.parent / "outside.safetensors")


def an_adapter_of_no_numbers(folder, marker):
    _with_adapter(folder, lambda tensor: torch.full_like(tensor, float("nan")))


def an_adapter_of_another_shape(folder, marker):
    _with_adapter(folder, lambda tensor: tensor[:, :3].contiguous() if len(tensor) == 4 else tensor)


def an_adapter_of_many_million_ranks(folder, marker):
    _with_adapter(folder, lambda tensor: tensor, rank=20_000_000)


def an_adapter_of_hidden_ranks(folder, marker):
    _with_adapter(folder, lambda tensor: tensor)
    edit(folder / "adapter_config.json", rank_pattern={"q_proj": 20_000_000})


def an_adapter_that_is_a_list(folder, marker):
    _with_adapter(folder, lambda tensor: tensor)
    (folder / "adapter_config.json").write_text("[]")


def shares_of_another_time(folder, marker):
    edit(folder / "recommender.json", shares={"next_item": [[0, 0.4], [4, 0.3]]})


def _with_adapter(folder, change, rank=4):
    """The model as a base with an adapter on its queries, each tensor changed."""
    base = folder / "base"
    base.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).rename(base / name)
    lm = get_peft_model(load_lm(str(base)), LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    lm.save_pretrained(folder, save_embedding_layers=False)
    save_file({name: change(tensor) for name, tensor in load_file(folder / "adapter_model.safetensors").items()}, folder / "adapter_model.safetensors")
    edit(folder / "adapter_config.json", r=rank, base_model_name_or_path=str(base))
    edit(folder / "recommender.json", kind="adapter", base=str(base))


def opened(path) -> tuple[dict, bytes]:
    """The header and the payload of a safetensors file."""
    whole = path.read_bytes()
    size, = struct.unpack("<Q", whole[:8])
    return json.loads(whole[8 : 8 + size]), whole[8 + size :]


EVIL = [
    pickled_weights, pickle_named_safetensors, torch_named_safetensors, pickled_rows, code_in_config, code_in_nested_config, code_in_tokenizer, shards_outside, shards_at_a_path, shards_in_a_pickle, weights_through_a_pipe,
    weights_without_end, header_of_two_gigabytes, header_of_negative_length, header_of_no_json, tensors_that_overlap, tensors_with_a_hole, a_tensor_beyond_the_end, a_shape_that_overflows, weights_of_another_shape,
    weights_that_are_missing, weights_that_are_no_numbers, a_config_of_a_giant, a_config_of_negative_size, yaml_that_constructs, yaml_of_laughs, a_deep_card, a_tokenizer_of_another_kind, a_task_that_is_a_path,
    an_index_of_fewer_codes, vectors_that_are_no_numbers, a_base_that_is_fetched, an_adapter_in_a_pickle, precedents_beyond_the_end, precedents_that_are_no_texts, a_memory_beyond_the_catalogue,
    shards_through_a_pipe, a_tensor_twice, a_million_tensors, a_tokenizer_of_500_megabytes, a_tokenizer_that_takes_for_ever, a_listing_of_files_outside, a_link_among_published_files, an_adapter_of_no_numbers,
    an_adapter_of_another_shape, an_adapter_of_many_million_ranks, a_name_twice_among_many, an_adapter_of_hidden_ranks, an_adapter_that_is_a_list, shares_of_another_time,
]


def highest_memory() -> int:
    """Bytes of this process since /proc/self/clear_refs was written."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


MISSING = {code_in_tokenizer: 2, an_adapter_in_a_pickle: 2, a_base_that_is_fetched: 2}
"""Where a file that has to be there is not, the folder is no model: exit 2."""


@pytest.mark.parametrize("toy_parts", ["atomic"], indirect=True)
@pytest.mark.parametrize("harm", EVIL, ids=lambda harm: harm.__name__)
def test_an_evil_folder_is_refused_and_runs_nothing(harm, folder, tmp_path, capsys):
    marker = tmp_path / "it-ran"
    harm(folder, marker)
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory so far is that of now
    before, begun = psutil.Process().memory_info().rss, time.process_time()  # whatever a neighbour on the machine takes
    code = generate.main([str(folder), "--task", "next_item", "--k", "3"])
    took, grown = time.process_time() - begun, highest_memory() - before
    said = capsys.readouterr()
    assert not marker.exists()
    assert code == MISSING.get(harm, 4) and said.out == "" and said.err.startswith("error: ") and "Traceback" not in said.err, f"exit {code}: {said.err[-400:]}{said.out[:100]}"
    assert took < SECONDS and grown < BYTES, f"{took:.1f} s, {grown >> 20} MiB"


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
