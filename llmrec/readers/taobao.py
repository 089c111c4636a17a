"""Taobao carts and purchases, as the EHCF code publishes them: several behaviours, no order, no time, no text.

Separate because its two behaviours come in files of their own and only purchases are split:

    buy.train.txt   uid \\t sid                 purchases to learn from
    buy.test.txt    uid \\t sid                 one held-out purchase per user
    cart.csv        uid \\t sid \\t 3           items put into the cart; the third column is the word "cart"

Each may be gzipped. Purchases are asked about; carts, all of part train, stand in the histories only.
Beware: of 193,747 carts 8,326 name the very item of the user's held-out purchase. It is how the set was published (page views are absent).

Source: https://github.com/chenchongthu/EHCF (C. Chen et al., Efficient Heterogeneous Collaborative Filtering without Negative Sampling, AAAI 2020).
Licence: Tianchi / Alibaba, research use; the repository states none.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from llmrec.interactions import TEST, TRAIN
from llmrec.readers.files import need_file, scan_table
from llmrec.readers.raw import RawLog

OPTIONS: dict[str, str] = {}
FILES = (("cart.csv", "cart", TRAIN), ("buy.train.txt", "purchase", TRAIN), ("buy.test.txt", "purchase", TEST))


def read(path: Path) -> RawLog:
    """Carts and purchases of a folder, carts first; a set, so `temporal` is False and no time or order is given.

    Raises:
        FileNotFoundError: one of the three files is missing.
    """
    folder = Path(path)
    columns = {"uid": "user_id", "sid": "item_id"}
    logs = [scan_table(need_file(folder, name), columns, "\t", None).with_columns(event=pl.lit(event), part=pl.lit(part)) for name, event, part in FILES]
    return RawLog("taobao", pl.concat(logs), positive=("purchase",), auxiliary=("cart",), temporal=False, notes={"licence": "Tianchi / Alibaba: research use"})
