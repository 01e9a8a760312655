"""Cases of `ingot.lower.strings`, and of what only moves or compares strings."""

from __future__ import annotations

import numpy as np
from case import Case, case

from ingot.testing import EXACT, Array

TEXTS = ["abc", "", "Straße", "ÀÉΩ", "日本語 a", ",b,,c", " lead  and\u2003trail\t\n", "x" * 70]
WORDS = ["monday", "", "Tuesday", "MONDAY", "MoNdAy", "wednesday", "Àé"]
OTHERS = np.array(["ab", "", "zebra", "not there"], object)


def strings(name: str, inputs: str, body: str, outputs: str = "string[] y", **how: object) -> Case:
    return case(f"strings_{name}", inputs, body, outputs, **{"opset": 20, "level": EXACT, **how})  # type: ignore[arg-type]


def texts(*words: str) -> Array:
    return np.array(words, object)


def normalized(name: str, attributes: str, words: list[str], *expected: str, rank: int = 1) -> Case:
    """expected: by the specification, as ONNX Runtime needs a locale that the machine may lack."""
    shape = (len(words),) if rank == 1 else (1, len(words))
    ahead = "" if rank == 1 else "1,"
    return strings(f"normalizer_{name}", f"string[{ahead}n] x", f"y = StringNormalizer<{attributes}>(x)", f"string[{ahead}m] y",
                   feed={"x": texts(*words).reshape(shape)}, sizes=({"n": len(words)},),
                   expected=([texts(*expected).reshape((*shape[:-1], -1))],))  # fmt: skip


def split(name: str, attributes: str, words: list[str]) -> Case:
    return strings(f"split_{name}", "string[n] x", f"y, z = StringSplit{attributes}(x)", "string[n,m] y, int64[n] z",
                   feed={"x": texts(*words)}, sizes=({"n": len(words)},))  # fmt: skip


CASES = [
    strings("concat_broadcast", "string[2,n] x, string[n] y", "z = StringConcat(x, y)", "string[2,n] z", sizes=({"n": 1}, {"n": 3})),
    strings("concat_texts", f"string[{len(TEXTS)}] x, string[1] y", "z = StringConcat(x, y)", "string[] z",
            feed={"x": texts(*TEXTS), "y": texts("ü")}),
    strings("concat_chain", "string[3] x, string[3] y", "a = StringConcat(x, y) b = StringConcat(a, x) c = Transpose(b) z = StringConcat(c, a)", "string[3] z"),
    strings("concat_scalar", "string x, string y", "z = StringConcat(x, y)", "string z", feed={"x": np.array("a", object), "y": np.array("", object)}),
    strings("concat_with_constant", "string[n] x", "z = StringConcat(x, c)", "string[n] z", constants={"c": texts("é!")}, sizes=({"n": 1}, {"n": 5})),
    strings("made_in_a_branch", "string[3] x, bool c", "y = If (c) <then_branch = t () => (string[3] a) { a = StringConcat(x, x) }, "
            "else_branch = e () => (string[3] b) { b = Identity(x) }> z = StringConcat(y, x)", "string[3] z", feed={"c": np.array(True)}),
    strings("kept_by_a_loop", "string[3] x, int64 count, bool go",
            "y = StringConcat(x, x) z = Loop (count, go, y) <body = b (int64 i, bool c, string[3] s) => (bool d, string[3] t) { d = Identity(c) t = Where(k, x, s) }>",
            "string[3] z", constants={"k": np.array([True, False, True])}, feed={"count": np.array(2), "go": np.array(True)}),
    split("delimiter", '<delimiter=","> ', ["a,b", ",b,,c", "", "none", ",,"]),
    split("long_delimiter", '<delimiter="-->"> ', ["a-->b->c", "-->-->", "--->"]),
    split("limit", '<delimiter=".", maxsplit=1>', ["a.b.c", "..", "x"]),
    split("no_split", '<delimiter=".", maxsplit=0>', ["a.b.c", ""]),
    split("spaces", "", [*TEXTS, " a b\u00a0c\u3000", "\u0085"]),
    split("spaces_limit", "<maxsplit=1>", ["  a b  c ", "a", " ", "a  b "]),
    split("of_nothing", "", []),
    strings("split_of_made", "string[2] x, string[2] y", "z = StringConcat(x, y) p, q = StringSplit<delimiter=\"a\">(z)", "string[2,m] p, int64[2] q",
            feed={"x": texts("banana", ""), "y": texts("pan", "")}),
    normalized("lower", 'case_change_action="LOWER", is_case_sensitive=1', TEXTS, *(t.lower() for t in TEXTS)),
    normalized("upper", 'case_change_action="UPPER", is_case_sensitive=1, locale="en_US"', [*TEXTS, "ŉ ﬃ"], *(t.upper() for t in [*TEXTS, "ŉ ﬃ"])),
    normalized("stopwords", 'is_case_sensitive=1, stopwords=["monday", ""]', WORDS, "Tuesday", "MONDAY", "MoNdAy", "wednesday", "Àé"),
    normalized("stopwords_of_any_case", 'case_change_action="UPPER", stopwords=["monday", "àÉ"]', WORDS, "", "TUESDAY", "WEDNESDAY", rank=2),
    normalized("stopwords_lower", 'case_change_action="LOWER", stopwords=["MONDAY"]', WORDS, "", "tuesday", "wednesday", "àé"),
    normalized("stopwords_kept_case", 'stopwords=["MONDAY"]', WORDS, "", "Tuesday", "wednesday", "Àé"),
    normalized("nothing_left", 'is_case_sensitive=1, stopwords=["a"]', ["a", "a"], ""),
    normalized("nothing_given", 'case_change_action="LOWER"', [], ""),
    normalized("as_it_is", "is_case_sensitive=1", WORDS, *WORDS),
    strings("equal", "string[2,n] x, string[n] y", "z = Equal(x, y)", "bool[2,n] z", sizes=({"n": 1}, {"n": 9})),
    strings("equal_to_constant", "string[7] x", "e = Equal(x, c) y = Cast<to=1>(e)", "float[7] y", constants={"c": texts("ab")}),
    strings("equal_counted", "string[3,40] x", "e = Equal(x, c) f = Cast<to=1>(e) y = ReduceSum<keepdims=0>(f, a)", "float[3] y",
            constants={"c": texts("ab"), "a": np.array([1])}),
    strings("where_of_a_convolution", "float[1,4,5,5] x, string[1,8,5,5] s, string[1,8,5,5] t",
            "a = Conv(x, w) r = Relu(a) e = Equal(s, t) y = Where(e, r, zero) g = Greater(r, zero) z = Where(g, s, t)", "float[] y, string[] z",
            constants={"w": np.arange(-16, 16, dtype=np.float32).reshape(8, 4, 1, 1), "zero": np.float32(0)}, whole=True, oracle="reference"),
    strings("constants", "bool[2,3] c", 'a = Constant<value_strings=["x", "é", ""]>() b = Constant<value_string="one">() y = Where(c, a, b)', "string[2,3] y",
            oracle="onnxruntime"),
    strings("table", "int64[4] i", "y = Gather(words, i)", "string[4] y", constants={"words": OTHERS}, feed={"i": np.array([0, -1, 2, 1])}),
    strings("row_of_a_table", "int64[2] i, string[1,2] x", "a = Gather(words, i) y = Concat<axis=0>(a, x)", "string[3,2] y",
            constants={"words": OTHERS.reshape(2, 2)}, feed={"i": np.array([1, 0])}),
    strings("shapes", "string[2,3,4] x", "a = Transpose<perm=[2,0,1]>(x) b = Reshape(a, s) c = Unsqueeze(b, one) d = Squeeze(c, one) y = Flatten(d)", "string[] y",
            constants={"s": np.array([6, 4]), "one": np.array([1])}),
    strings("cut", "string[4,n] x", "a = Slice(x, start, end, axes, steps) y, z = Split<axis=0, num_outputs=2>(a)", "string[] y, string[] z",
            constants={"start": np.array([3]), "end": np.array([-9]), "axes": np.array([0]), "steps": np.array([-1])}, sizes=({"n": 2}, {"n": 5})),
    strings("spread", "string[2,1] x", "a = Expand(x, s) y = Tile(a, t)", "string[] y",
            constants={"s": np.array([2, 3]), "t": np.array([2, 1])}, opset=17),
    strings("picked", "string[3,4] x, int64[3,2] i", "a = GatherElements<axis=1>(x, i) b = GatherND(x, j) c = Compress<axis=0>(x, k)",
            "string[3,2] a, string[2] b, string[m,4] c",
            constants={"j": np.array([[0, 1], [2, 3]]), "k": np.array([True, False, True])}, feed={"i": np.array([[0, 3], [1, -1], [2, 2]])}),
    strings("scattered", "string[3,4] x, string[2] u, string[1,4] v", "a = ScatterND(x, i, u) y = ScatterElements(a, j, v)", "string[3,4] y",
            constants={"i": np.array([[0, 1], [2, 3]]), "j": np.array([[2, 0, 1, 1]])}),
    strings("padded", "string[2,3] x", "y = Pad(x, p, f) z = Pad<mode=\"edge\">(x, p)", "string[] y, string[] z",
            constants={"p": np.array([0, 1, 1, 2]), "f": np.array("-", object)}, feed={"x": texts(*"abcdef").reshape(2, 3)},
            expected=([texts(*"-abc--", *"-def--", *"------").reshape(3, 6), texts(*"aabccc", *"ddefff", *"ddefff").reshape(3, 6)],)),
    strings("padded_with_nothing", "string[2] x", "y = Pad(x, p)", "string[5] y", constants={"p": np.array([1, 2])},
            feed={"x": texts("a", "b")}, expected=([texts("", "a", "b", "", "")],)),
    strings("unique", "string[9] x", "y, i, j, k = Unique<sorted=1>(x)", "string[m] y, int64[m] i, int64[9] j, int64[m] k"),
    strings("sequence", "string[3] x, string[2] y", "s = SequenceConstruct(x, y) z = ConcatFromSequence<axis=0>(s) w = SequenceAt(s, i)", "string[5] z, string[2] w",
            constants={"i": np.array(1)}),
    strings("blocks", "string[1,4,2,2] x", "y = DepthToSpace<blocksize=2>(x) z = SpaceToDepth<blocksize=2>(y)", "string[] y, string[] z"),
    strings("one_hot", "int64[3] i", "y = OneHot(i, d, v)", "string[3,4] y", constants={"d": np.array(4), "v": texts("off", "on")}, feed={"i": np.array([1, 3, 0])},
            oracle="onnxruntime"),
    strings("reversed", "string[4,2] x", "y = ReverseSequence(x, l) z = Trilu(y)", "string[4,2] z",
            constants={"l": np.array([3, 4])}, feed={"x": texts(*"abcdefgh").reshape(4, 2)}, expected=([texts("e", "h", "", "f", "", "", "", "").reshape(4, 2)],)),
    strings("as_output", "string[n] x", "y = Identity(x)", "string[n] y", sizes=({"n": 0}, {"n": 3})),
]  # fmt: skip
