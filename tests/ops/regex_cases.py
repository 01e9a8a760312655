"""Cases of `ingot.lower.regex`: patterns over texts that match and texts that do not."""

from __future__ import annotations

import numpy as np
from case import Case, case

from ingot.testing import EXACT

TEXTS = [
    "", "a", "abab", "foo", "foo bar", "FOO", "Straße", "STRASSE", "日本語", "2024-11-05", "x\ny", "me@gmail.com", "\u00e9\U0001f600", "]-^", "\t \n", "aaaaaaa",
]  # fmt: skip


def regex(name: str, pattern: str, *matching: str) -> Case:
    """matching: those of TEXTS that match by RE2's syntax."""
    texts = np.array(TEXTS, object).reshape(2, -1)
    expected = np.array([text in matching for text in TEXTS]).reshape(2, -1)
    found = case(f"regex_{name}", "string[n,8] x", "y = RegexFullMatch(x)", "bool[n,8] y", opset=20, level=EXACT,
                 feed={"x": texts}, sizes=({"n": 2},), expected=([expected],))  # fmt: skip
    attribute = found.model.graph.node[0].attribute.add(name="pattern", s=pattern.encode())
    attribute.type = attribute.STRING
    return found


CASES = [
    regex("nothing", "", ""),
    regex("literal", "foo", "foo"),
    regex("choice", "a|(ab)+|", "", "a", "abab"),
    regex("counted", "a{2,7}|[ab]{4}", "abab", "aaaaaaa"),
    regex("lazy", "(?:a+?)b??(?P<rest>.*)", "a", "abab", "aaaaaaa"),
    regex("any_case", "(?i)foo( bar)?|stra(?:ss|ß)e", "foo", "foo bar", "FOO", "Straße", "STRASSE"),
    regex("case_of_a_part", "(?i:f)oo|F(?i)Oo", "foo", "FOO"),
    regex("classes", r"\d{4}(-\d\d)+|\w+\s\w+|[[:space:]]+", "2024-11-05", "foo bar", "x\ny", "\t \n"),
    regex("brackets", r"[\]^-]+|[^ -~\n]+", "]-^", "日本語", "\u00e9\U0001f600"),
    regex("points", r"\x{65e5}本[一-龥]|\pL\p{So}", "日本語", "\u00e9\U0001f600"),
    regex("lines", "x.y|(?s)x.y|(?m)x$\n^y", "x\ny"),
    regex("one_line", "x.y|x$\n^y"),
    regex("words", r"\bfoo\b.\bbar\b|f\Boo\b|\Boo", "foo", "foo bar"),
    regex("quoted", r"\Q]-^\E|\Qa", "]-^", "a"),
    regex("mail", r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)|[\w.]+@gmail\.com", "me@gmail.com"),
    regex("anything", "(?s).*", *TEXTS),
]
