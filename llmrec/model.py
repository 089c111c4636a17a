"""LanguageModel: a base LM, the rows of new code tokens, LoRA, and heads that project only the rows that can be answered.

Separate from decoding and training, which both ask it for the same two things: hidden states of tokens under a mask, and the
log-probabilities of a trie node's children. Shapes: B rows of a batch, T tokens, H width, S answer slots, W children.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from llmrec.answers import TEXT, AnswerSpace, Trie
from llmrec.bases import decoder_of, dropout
from llmrec.steady import linear, steady


MAX_CROWN = 1 << 20
"""Places of the table of a trie's first nodes (64-bit: 8 MiB)."""


@dataclass(frozen=True)
class SpaceTensors:
    """An answer space on the model's device. Its head has one column per distinct token of the space.

    low, high, order: as in Trie.   tokens: (columns,) int64, token ids.   column: (nodes + widest,) int32, the head column of the edge into a node; behind the
    last one stands padding, so that as many columns as the widest node has children can be read from any node on.
    span: (nodes, 2) int32, a node's first child and the number of its children; a leaf counts as its own only child.
    crown: (nodes above level 2, W) int64, the columns of their children, padded with the number of columns: most children of a catalogue's first nodes
    exist, and a row of a table is fetched faster than it is put together; None where it would be large.
    values: (answers,) float32, what the root's children count as, where each is an answer with a value; else None.
    """

    name: str
    span: Tensor
    column: Tensor
    tokens: Tensor
    low: Tensor
    high: Tensor
    order: Tensor
    flat: bool
    crown: Tensor | None = None
    values: Tensor | None = None

    @classmethod
    def of(cls, space: AnswerSpace, device: torch.device) -> SpaceTensors:
        trie = space.trie
        tokens, column = np.unique(trie.token[1:], return_inverse=True)
        count = np.diff(trie.first)
        column = np.concatenate([[0], column.ravel()])
        span = np.stack([np.where(count > 0, trie.first[:-1], np.arange(trie.num_nodes)), np.maximum(count, 1)], axis=1)
        # All answers are single tokens in column order: the root's children are the head's columns, nothing needs gathering.
        flat = trie.depth == 1 and bool((column[1:] == np.arange(len(tokens))).all())
        put = lambda array, dtype=torch.int32: torch.as_tensor(array, dtype=dtype, device=device)  # noqa: E731
        values = put(space.values[trie.order], torch.float32) if flat and space.values is not None else None
        crown = None if flat or trie.depth == 1 else _crown(trie, column, len(tokens))
        return cls(
            space.name, put(span), put(np.pad(column, (0, count.max()))), put(tokens, torch.int64), put(trie.low), put(trie.high), put(trie.order), flat, None if crown is None else put(crown, torch.int64), values,
        )


def _crown(trie: Trie, column: np.ndarray, num_columns: int) -> np.ndarray | None:
    """The table SpaceTensors.crown, where no node above level 2 is a leaf and the table has at most MAX_CROWN places."""
    count = np.diff(trie.first[: trie.levels[2] + 1])
    if count.min() == 0 or len(count) * count.max() > MAX_CROWN:
        return None
    steps = np.arange(count.max())
    children = np.minimum(trie.first[: len(count), None] + steps, trie.num_nodes - 1)
    return np.where(steps < count[:, None], column[children], num_columns)


class LanguageModel(nn.Module):
    """A causal LM whose vocabulary is the base's `vocabulary_size` tokens followed by `new_tokens` code tokens.

    A code token's row is `learned` plus, where content vectors are given, `projection` of its content; the same row serves as input and output.
    The base's own table and head stay as they are.
    """

    def __init__(self, lm: PreTrainedModel, *, vocabulary_size: int, new_tokens: int, content: np.ndarray | None = None, embedding_dropout: float = 0.0):
        super().__init__()
        table = lm.get_input_embeddings().weight
        if table.shape[0] not in (vocabulary_size, vocabulary_size + new_tokens):
            raise ValueError(f"the base has {table.shape[0]} rows; expected {vocabulary_size}, or {vocabulary_size + new_tokens} with its code tokens")
        std = float(table.detach()[:vocabulary_size].std())
        learned = table.detach()[vocabulary_size:].clone() if table.shape[0] > vocabulary_size else torch.randn(new_tokens, table.shape[1]) * std
        if table.shape[0] > vocabulary_size:
            lm.resize_token_embeddings(vocabulary_size)
        steady(lm)
        self.lm, self.adapted = lm, False
        self.vocabulary_size = vocabulary_size
        self.learned = nn.Parameter(learned)
        self.projection: nn.Linear | None = None
        self.embedding_dropout = embedding_dropout
        if content is not None and new_tokens:
            self.register_buffer("content", torch.as_tensor(content, dtype=torch.float32), persistent=False)
            self.projection = nn.Linear(content.shape[1], table.shape[1], bias=False)
            nn.init.normal_(self.projection.weight, std=0.02)
        self.register_buffer("fold_content", None, persistent=False)
        self.spaces: dict[str, SpaceTensors] = {}
        self.logit_factor, self.logit_cap = _head_shape(lm)
        _check_head(lm, self.logit_factor, self.logit_cap)

    # --- parts -----------------------------------------------------------------------------------------------------------------

    @property
    def base(self) -> PreTrainedModel:
        """The causal LM itself, below a PEFT wrapper if there is one (its layers carry the adapters)."""
        return self.lm.get_base_model() if self.adapted else self.lm

    @property
    def device(self) -> torch.device:
        return self.learned.device

    @property
    def width(self) -> int:
        return self.base.get_input_embeddings().weight.shape[1]

    def rows(self) -> Tensor:
        """(new_tokens, H): the rows of the code tokens."""
        return self.learned if self.projection is None else self.learned + self.projection(self.content)

    def set_spaces(self, spaces: Mapping[str, AnswerSpace]) -> None:
        """Puts the answer spaces (those with a trie) on the model's device; call again after moving the model."""
        self.spaces = {name: SpaceTensors.of(space, self.device) for name, space in spaces.items() if space.trie is not None}

    def set_fold_content(self, content: np.ndarray) -> None:
        """Content vectors for training, (folds, new_tokens, width): the codes of fold f are read from further rows, those of new token c at (1 + f) * new_tokens + c."""
        self.fold_content = torch.as_tensor(content, dtype=torch.float32, device=self.device)

    def input_rows(self, rows: Tensor) -> Tensor:
        """The rows that training's tokens are read from: `rows`, and behind them those of each fold, where there are any."""
        if self.fold_content is None:
            return rows
        return torch.cat([rows, (self.learned + self.projection(self.fold_content)).flatten(0, 1)])

    def project_only(self) -> None:
        """Leaves each row to the projection of its content: the learned part becomes 0 and stays it. Raises ValueError where there is no content."""
        if self.projection is None:
            raise ValueError("content.learned is false, but the item rows have no content: set content.learned=true, or content.rows=true for items with text")
        with torch.no_grad():
            self.learned.zero_()
        self.learned.requires_grad_(False)

    def adopt_projection(self, weight: Tensor) -> None:
        """Takes over a trained content projection: what it explains of the rows is taken out of the learned part, so that the rows stay the same."""
        with torch.no_grad():
            self.projection.weight.copy_(weight)
            self.learned.sub_(self.projection(self.content))

    def add_adapter(self, *, rank: int, alpha: int, dropout: float, targets: list[str] | str) -> None:
        """Freezes the base and adds LoRA; the code tokens' rows stay trainable. Source: Hu et al. 2021."""
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, task_type="CAUSAL_LM")
        self.lm, self.adapted = get_peft_model(self.lm, config), True

    def plain(self) -> PreTrainedModel:
        """A copy as a plain Hugging Face model: adapters merged, rows written behind the base's own in the table (and in an untied head)."""
        lm = deepcopy(self.lm).cpu()
        lm = lm.merge_and_unload() if self.adapted else lm
        with torch.no_grad():
            rows = self.rows().detach().cpu()
            if len(rows):
                lm.resize_token_embeddings(self.vocabulary_size + len(rows), mean_resizing=False)
                for module in (lm.get_input_embeddings(), lm.get_output_embeddings()):
                    module.weight[self.vocabulary_size :] = rows
                    if getattr(module, "bias", None) is not None:
                        module.bias[self.vocabulary_size :] = 0.0
        return lm

    # --- hidden states ---------------------------------------------------------------------------------------------------------

    def embed(self, tokens_BT: Tensor, rows: Tensor | None = None) -> Tensor:
        """(B, T) token ids -> (B, T, H)."""
        base = self.base.get_input_embeddings()
        is_code = tokens_BT >= self.vocabulary_size
        embedded = base(tokens_BT.clamp(max=self.vocabulary_size - 1))
        if len(self.learned) and bool(is_code.any()):
            rows = self.rows() if rows is None else rows
            codes = F.embedding((tokens_BT - self.vocabulary_size).clamp(min=0), rows)
            embedded = torch.where(is_code[..., None], codes.to(embedded.dtype), embedded)
        return dropout(embedded, self.embedding_dropout) if self.training and self.embedding_dropout else embedded

    def hidden(self, tokens_BT: Tensor, positions_BT: Tensor, mask_BTK: Tensor, *, cache: Cache | None = None, rows: Tensor | None = None) -> Tensor:
        """Last hidden states (B, T, H) of these tokens. mask: bool, True where token t sees key k (keys: the cached ones first). A cache given is extended."""
        mask = mask_BTK[:, None]
        if self.base.config._attn_implementation != "sdpa":
            mask = torch.zeros(mask.shape, dtype=torch.float32, device=mask.device).masked_fill(~mask, torch.finfo(torch.float32).min)
        output = decoder_of(self.base)(
            inputs_embeds=self.embed(tokens_BT, rows), attention_mask=mask, position_ids=positions_BT, past_key_values=cache, use_cache=cache is not None,
        )
        return output.last_hidden_state

    # --- heads -----------------------------------------------------------------------------------------------------------------

    def space_logits(self, hidden_SH: Tensor, space: SpaceTensors, rows: Tensor | None = None) -> Tensor:
        """(S, columns): the logits of the space's tokens, and of no others."""
        if int(space.tokens[0]) >= self.vocabulary_size:
            rows = self.rows() if rows is None else rows
            whole = len(space.tokens) == len(rows)
            return self._shape(linear(hidden_SH, rows if whole else rows[space.tokens - self.vocabulary_size]))
        head = self.base.get_output_embeddings()
        bias = head.bias[space.tokens] if getattr(head, "bias", None) is not None else None
        return self._shape(linear(hidden_SH, head.weight[space.tokens], bias))

    def text_logits(self, hidden_SH: Tensor) -> Tensor:
        """(S, vocabulary_size): the logits of words."""
        return self._shape(self.base.get_output_embeddings()(hidden_SH)[..., : self.vocabulary_size])

    def whole_table(self, space_name: str, rows: Tensor) -> Tensor | None:
        """(V, H), where the logits of a space are plain products with all rows of one table, in the order of its answers; else None."""
        if self.logit_factor != 1.0 or self.logit_cap:
            return None
        if space_name == TEXT:
            head = self.base.get_output_embeddings()
            return head.weight[: self.vocabulary_size] if getattr(head, "bias", None) is None else None
        space = self.spaces[space_name]
        return rows if space.flat and len(space.tokens) == len(rows) and int(space.tokens[0]) == self.vocabulary_size else None

    def child_log_probs(self, logits_SC: Tensor, nodes_S: Tensor, space: SpaceTensors) -> tuple[Tensor, Tensor]:
        """Log-probabilities over the children of each node, normalised among them: (S, W), -inf behind the last child; and the first child of each, (S,), behind which the others stand in a row. A leaf counts as its own only child."""
        if space.flat:
            return logits_SC.log_softmax(-1), torch.ones_like(nodes_S)
        start, count = space.span[nodes_S].unbind(1)
        if space.crown is not None and int(nodes_S.max()) < len(space.crown):
            columns = space.crown[nodes_S]
            return F.pad(logits_SC, (0, 1), value=-torch.inf).gather(1, columns).log_softmax(-1), start.long()
        steps = torch.arange(int(count.max()), dtype=count.dtype, device=logits_SC.device)
        columns = space.column[start[:, None] + steps].long()
        return logits_SC.gather(1, columns).masked_fill(steps >= count[:, None], -torch.inf).log_softmax(-1), start.long()

    def _shape(self, logits: Tensor) -> Tensor:
        logits = logits if logits.dtype == torch.float64 else logits.float()
        logits = logits * self.logit_factor if self.logit_factor != 1.0 else logits
        return torch.tanh(logits / self.logit_cap) * self.logit_cap if self.logit_cap else logits


def _head_shape(lm: PreTrainedModel) -> tuple[float, float | None]:
    """The factor and soft cap some families put on their logits (Cohere: logit_scale, Granite: logits_scaling, Gemma: final_logit_softcapping)."""
    config = lm.config
    factor = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    return factor, getattr(config, "final_logit_softcapping", None)


@torch.no_grad()
def _check_head(lm: PreTrainedModel, factor: float, cap: float | None) -> None:
    """Raises ValueError where our reading of the head does not give the model's own logits."""
    training = lm.training
    lm.eval()
    tokens = torch.arange(min(8, lm.get_input_embeddings().weight.shape[0]), device=lm.device)[None]
    own = lm(input_ids=tokens, use_cache=False).logits.float()
    ours = lm.get_output_embeddings()(decoder_of(lm)(input_ids=tokens, use_cache=False).last_hidden_state).float() * factor
    ours = torch.tanh(ours / cap) * cap if cap else ours
    lm.train(training)
    if not torch.allclose(own, ours, atol=1e-4 * float(own.abs().max() + 1)):
        raise ValueError(f"the head of {type(lm).__name__} is not its output table applied to the last hidden state; this family is not supported")
