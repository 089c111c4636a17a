"""What harms a model folder, one function each: `harm(folder, marker)` changes a good folder, and what it plants would write `marker` if it were run."""

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import safetensors.numpy as numpy_safetensors
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from llmrec.bases import load_lm
from llmrec.interactions import Catalog
from llmrec.precedents import Precedents
from llmrec.predictions import HeldOut, Request


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (open, (str(self.marker), "w"))


def bomb(marker) -> bytes:
    """The same as the bytes of a pickle, written by hand."""
    return f"cbuiltins\nopen\n(V{marker}\nVw\ntR.".encode()


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

MISSING = {code_in_tokenizer: 2, an_adapter_in_a_pickle: 2, a_base_that_is_fetched: 2}
"""Where a file that has to be there is not, the folder is no model: exit 2."""
