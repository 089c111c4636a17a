"""Any family of causal LM: our hidden states and heads are the model's own, and what is saved is a plain model that says the same."""

import numpy as np
import pytest
import torch
import transformers as t

from llmrec.bases import add_residual_dropout, load_lm
from llmrec.model import LanguageModel

COMMON = dict(vocab_size=120, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=128, initializer_range=0.2)
FAMILIES = {
    "llama": lambda: t.LlamaForCausalLM(t.LlamaConfig(**COMMON, intermediate_size=64, num_key_value_heads=1, tie_word_embeddings=True)),
    "llama_untied": lambda: t.LlamaForCausalLM(t.LlamaConfig(**COMMON, intermediate_size=64, tie_word_embeddings=False)),  # SmolLM is a Llama, too
    "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**COMMON, intermediate_size=64, num_key_value_heads=1, head_dim=16, tie_word_embeddings=True)),
    "gpt_neox": lambda: t.GPTNeoXForCausalLM(t.GPTNeoXConfig(**COMMON, intermediate_size=64)),
    "phi": lambda: t.PhiForCausalLM(t.PhiConfig(**COMMON, intermediate_size=64)),
    "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(vocab_size=120, n_embd=32, n_layer=2, n_head=2, n_positions=128, initializer_range=0.2)),
}
TOKENS = torch.tensor([[1, 5, 121, 7, 124, 9], [4, 120, 8, 2, 122, 123]])
CAUSAL = torch.ones(6, 6, dtype=torch.bool).tril().expand(2, 6, 6)
POSITIONS = torch.arange(6).expand(2, 6)


@pytest.fixture(params=FAMILIES)
def model(request):
    torch.manual_seed(0)
    model = LanguageModel(FAMILIES[request.param]().eval(), vocabulary_size=120, new_tokens=5, content=np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    with torch.no_grad():
        model.learned.normal_(std=0.3)
    return model.eval()


@torch.no_grad()
def both_logits(model):
    hidden = model.hidden(TOKENS, POSITIONS, CAUSAL)
    ours = torch.cat([model.text_logits(hidden), hidden @ model.rows().T], dim=-1)
    return ours, model.plain().eval()(input_ids=TOKENS).logits


def test_rows_apart_give_the_logits_of_one_plain_table(model):
    ours, plain = both_logits(model)
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-4)


def test_a_saved_model_loads_plain_and_says_the_same(model, tmp_path):
    model.plain().save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    again = LanguageModel(load_lm(str(tmp_path)), vocabulary_size=120, new_tokens=5).eval()
    with torch.no_grad():
        torch.testing.assert_close(again.hidden(TOKENS, POSITIONS, CAUSAL), model.hidden(TOKENS, POSITIONS, CAUSAL), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(again.rows(), model.rows())


def test_an_adapter_trains_and_merges_and_leaves_the_base_alone(model):
    base = {name: p.detach().clone() for name, p in model.lm.named_parameters()}
    model.add_adapter(rank=4, alpha=8, dropout=0.0, targets="all-linear")
    trained = [p for p in model.parameters() if p.requires_grad]
    assert any(p is model.learned for p in trained) and sum(p.numel() for p in trained) < sum(p.numel() for p in model.parameters()) / 2
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    model.train()
    for _ in range(3):
        optimizer.zero_grad()
        model.hidden(TOKENS, POSITIONS, CAUSAL).square().sum().backward()
        optimizer.step()
    model.eval()
    ours, plain = both_logits(model)
    torch.testing.assert_close(ours, plain, atol=1e-3, rtol=1e-3)
    for name, p in model.base.named_parameters():
        if ".base_layer." in name or "lora_" not in name:
            assert torch.equal(p, base[name.replace(".base_layer", "")]), name


def test_residual_dropout_acts_in_training_only(model):
    add_residual_dropout(model.base, 0.5)
    with torch.no_grad():
        calm = [model.hidden(TOKENS, POSITIONS, CAUSAL) for _ in range(2)]
        model.train()
        wild = [model.hidden(TOKENS, POSITIONS, CAUSAL) for _ in range(2)]
    assert torch.equal(*calm) and not torch.equal(*wild)


def test_a_tree_mask_reads_as_if_each_branch_stood_alone(model):
    trunk, left, right = [1, 121, 7], [5, 122], [6, 123, 9]
    tokens = torch.tensor([trunk + left + right])
    positions = torch.tensor([[0, 1, 2, 3, 4, 3, 4, 5]])
    sees = torch.zeros(8, 8, dtype=torch.bool)
    sees[:5, :5] = torch.ones(5, 5, dtype=torch.bool).tril()
    sees[5:, :3] = True
    sees[5:, 5:] = torch.ones(3, 3, dtype=torch.bool).tril()
    with torch.no_grad():
        packed = model.hidden(tokens, positions, sees[None])[0]
        for strand, place in ((left, slice(3, 5)), (right, slice(5, 8))):
            size = 3 + len(strand)
            alone = model.hidden(torch.tensor([trunk + strand]), torch.arange(size)[None], torch.ones(1, size, size, dtype=torch.bool).tril())[0]
            torch.testing.assert_close(packed[place], alone[3:], atol=1e-5, rtol=1e-5)


def test_taking_over_a_projection_leaves_the_rows_as_they_are(model):
    before = model.rows().detach().clone()
    with torch.no_grad():
        model.learned.copy_(before)  # as loaded from a plain table: all of a row is learned
        weight = torch.randn_like(model.projection.weight)
    model.adopt_projection(weight)
    torch.testing.assert_close(model.rows(), before)
    assert torch.equal(model.projection.weight, weight)


def test_a_base_of_another_size_is_refused():
    with pytest.raises(ValueError, match="120 rows; expected 100"):
        LanguageModel(FAMILIES["llama"](), vocabulary_size=100, new_tokens=5)


def test_a_head_we_do_not_understand_is_refused():
    class Odd(t.LlamaForCausalLM):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            output.logits = output.logits.sin()
            return output

    with pytest.raises(ValueError, match="not supported"):
        LanguageModel(Odd(t.LlamaConfig(**COMMON, intermediate_size=64)).eval(), vocabulary_size=120, new_tokens=5)


def test_each_fold_has_a_table_behind_the_rows(model):
    """As many as set_fold_content gives; prompts that are answered never read them."""
    rows = model.rows()
    assert model.input_rows(rows) is rows
    content = np.random.default_rng(1).normal(size=(3, 5, 3)).astype(np.float32)
    plain = {name: values.clone() for name, values in model.state_dict().items()}
    model.set_fold_content(content)
    table = model.input_rows(rows)
    assert table.shape == (20, rows.shape[1]) and torch.equal(table[:5], rows)
    for fold in range(3):
        torch.testing.assert_close(table[5 * (1 + fold) : 5 * (2 + fold)], model.learned + model.projection(torch.from_numpy(content[fold])))
    assert model.state_dict().keys() == plain.keys()
    token = torch.tensor([[model.vocabulary_size + 5 * 2 + 4]])
    torch.testing.assert_close(model.embed(token, table)[0, 0], table[14])


def test_rows_may_be_a_projection_alone(model):
    model.project_only()
    assert torch.equal(model.rows(), model.projection(model.content)) and float(model.rows().abs().max()) > 0
    assert "learned" not in {name for name, p in model.named_parameters() if p.requires_grad}


def test_rows_without_content_need_their_learned_part():
    with pytest.raises(ValueError, match="set content.learned=true"):
        LanguageModel(FAMILIES["llama"](), vocabulary_size=120, new_tokens=5).project_only()
