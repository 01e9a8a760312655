"""Cases of `ingot.lower.text`: counts of sequences of tokens, of one and of several lengths, with tokens between them."""

from __future__ import annotations

import numpy as np
from case import Case, case

from ingot.testing import EXACT

TOKENS = np.array([[1, 1, 3, 3, 3, 7], [8, 6, 7, 5, 6, 8]])
POOL = "ngram_counts=[0,4], ngram_indexes=[0,1,2,3,4,5,6], pool_int64s=[2,3,5,4,5,6,7,8,6,7]"
MIXED = "ngram_counts=[0,3], ngram_indexes=[4,0,2,1,3], pool_int64s=[3,8,6,3,3,6,7]"


def tf_idf(
    name: str, shape: str, tokens: np.ndarray, attributes: str, dtype: str = "int64", columns: int = 7
) -> Case:
    rows = "" if tokens.ndim == 1 else "n,"
    return case(f"tfidf_{name}", f"{dtype}[{shape}] x", f"y = TfIdfVectorizer<{attributes}>(x)", f"float[{rows}{columns}] y",
                feed={"x": tokens.astype(dtype)}, sizes=({"n": len(tokens)},) if "n" in shape else ({},), level=EXACT, oracle="onnxruntime")  # fmt: skip


CASES = [
    case("tfidf_strings", "string[n,6] x", 'y = TfIdfVectorizer<mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1, ngram_counts=[0,3], '
         'ngram_indexes=[4,0,2,1,3], pool_strings=["c","h","f","c","c","f","g"]>(x)', "float[n,5] y", sizes=({"n": 2},), level=EXACT, oracle="onnxruntime",
         feed={"x": np.array([list("aaccc?"), list("hfgefh")], object)}),
    tf_idf("bigrams", "2,6", TOKENS, f'mode="TF", min_gram_length=2, max_gram_length=2, max_skip_count=0, {POOL}'),
    tf_idf("skips", "2,6", TOKENS, f'mode="TF", min_gram_length=2, max_gram_length=2, max_skip_count=5, {POOL}'),
    tf_idf("uni_and_bigrams", "n,6", TOKENS, f'mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=5, {POOL}', "int32"),
    tf_idf("one_row", "6", TOKENS[0], f'mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=1, {MIXED}', columns=5),
    tf_idf("idf", "2,6", TOKENS, f'mode="IDF", min_gram_length=1, max_gram_length=2, max_skip_count=1, {MIXED}, weights=[2.0,3.0,4.0,5.0,6.0]', columns=5),
    tf_idf("tf_idf", "2,6", TOKENS, f'mode="TFIDF", min_gram_length=1, max_gram_length=2, max_skip_count=1, {MIXED}, weights=[2.0,3.0,4.0,5.0,6.0]', columns=5),
    tf_idf("short_row", "1", np.array([3]), f'mode="TF", min_gram_length=1, max_gram_length=2, max_skip_count=0, {MIXED}', columns=5),
]  # fmt: skip
