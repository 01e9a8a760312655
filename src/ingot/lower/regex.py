"""RegexFullMatch: a pattern of RE2's syntax becomes a table by which a string is matched byte by byte.

The pattern is parsed to an automaton of Thompson's construction (Communications of the ACM 11(6), 1968) over code points,
made deterministic by the subset construction, and turned into one over the bytes of UTF-8. What is no UTF-8 matches nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

import numpy as np

from ingot.ir.index import ix
from ingot.ir.nodes import Const, Index, as_index
from ingot.lower.context import Context
from ingot.lower.operand import Node, Operand
from ingot.lower.registry import lowers
from ingot.lower.strings import LONGEST, byte_of, length_of
from ingot.lower.values import cast
from ingot.lower.writer import Writer

LAST = 0x10FFFF
MOST_REPEATS = 1000
"""As in RE2."""
MOST_PARTS = 20_000
"""States of the automaton that a pattern is parsed to."""
MOST_STATES = 10_000
"""States of the deterministic automaton, over code points and over bytes."""

Ranges = tuple[tuple[int, int], ...]
"""Code points, as ranges that neither overlap nor touch, in order."""


class PatternError(Exception):
    """Why a pattern is not taken."""


def union(ranges: Sequence[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], high)
        else:
            merged.append((low, high))
    return tuple(merged)


def complement(ranges: Ranges) -> Ranges:
    edges = [-1, *(e for low, high in ranges for e in (low, high)), LAST + 1]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return tuple((a + 1, b - 1) for a, b in pairs if a + 1 <= b - 1)


def holds(ranges: Ranges, point: int) -> bool:
    return any(low <= point <= high for low, high in ranges)


def _set(text: str) -> Ranges:
    """Such as "a-zA-Z_"."""
    ranges, i = [], 0
    while i < len(text):
        last = text[i + 2] if text[i + 1 : i + 2] == "-" else text[i]
        ranges.append((ord(text[i]), ord(last)))
        i += 1 if last == text[i] else 3
    return union(ranges)


DIGIT, WORD, SPACE = _set("0-9"), _set("0-9A-Za-z_"), _set("\t\n\f\r ")
NEWLINE = _set("\n")
_PERL = {"d": DIGIT, "w": WORD, "s": SPACE}
_POSIX = {
    "alnum": _set("0-9A-Za-z"), "alpha": _set("A-Za-z"), "ascii": ((0, 127),), "blank": _set("\t "), "cntrl": ((0, 31), (127, 127)),
    "digit": DIGIT, "graph": _set("!-~"), "lower": _set("a-z"), "print": _set(" -~"), "punct": _set("!-/:-@[-`{-~"),
    "space": _set("\t-\r "), "upper": _set("A-Z"), "word": WORD, "xdigit": _set("0-9A-Fa-f"),
}  # fmt: skip
_ESCAPES = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}


@cache
def _category(name: str) -> Ranges:
    """The code points of a general category of Unicode, such as L or Lu."""
    found = union([(c, c) for c in range(LAST + 1) if unicodedata.category(chr(c)).startswith(name)])
    if not found:
        raise PatternError(f"the class \\p{{{name}}}")
    return found


@cache
def _cases() -> dict[int, tuple[int, ...]]:
    """For each code point that has others of another case, those."""
    groups: dict[str, list[int]] = {}
    for c in range(LAST + 1):
        text = chr(c)
        if text.lower() != text or text.upper() != text:
            key = text.lower().upper()
            if len(key) == 1:
                groups.setdefault(key, []).append(c)
    return {c: tuple(group) for group in groups.values() for c in group}


def folded(ranges: Ranges) -> Ranges:
    """With the same letters of the other case."""
    others = [(o, o) for c, group in _cases().items() if holds(ranges, c) for o in group]
    return union([*ranges, *others])


@dataclass
class Automaton:
    """States with at most one kind of way out. steps: on a code point of a set, to a state. free: without one, to others,
    where an assertion holds if there is one. The first state is 0, the last one accepts."""

    steps: dict[int, tuple[Ranges, int]] = field(default_factory=dict)
    free: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    count: int = 0

    def state(self) -> int:
        if self.count >= MOST_PARTS:
            raise PatternError("a pattern of so many parts")
        self.count += 1
        return self.count - 1

    def leap(self, start: int, end: int, assertion: str = "") -> None:
        self.free.setdefault(start, []).append((assertion, end))


Part = Callable[[Automaton, int], int]
"""Adds a part of a pattern from a state on; the state after it."""


class Parser:
    """Recursive descent. flags: of i (any case), m (lines), s (a dot is also a newline), U (lazy, which changes nothing here)."""

    def __init__(self, pattern: str) -> None:
        self.text, self.at, self.flags = pattern, 0, ""

    def parse(self) -> Part:
        part = self.choice()
        if self.at < len(self.text):
            raise PatternError("a closing parenthesis too many")
        return part

    def peek(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def take(self, text: str) -> bool:
        found = self.peek(text)
        self.at += len(text) if found else 0
        return found

    def next(self) -> str:
        if self.at >= len(self.text):
            raise PatternError("an end too early")
        self.at += 1
        return self.text[self.at - 1]

    def until(self, end: str) -> str:
        place = self.text.find(end, self.at)
        if place < 0:
            raise PatternError(f"no {end}")
        found, self.at = self.text[self.at : place], place + len(end)
        return found

    def choice(self) -> Part:
        flags, parts = self.flags, [self.sequence()]
        while self.take("|"):
            parts.append(self.sequence())
        self.flags = flags
        if len(parts) == 1:
            return parts[0]

        def add(made: Automaton, start: int) -> int:
            ends = []
            for part in parts:
                first = made.state()
                made.leap(start, first)
                ends.append(part(made, first))
            end = made.state()
            for last in ends:
                made.leap(last, end)
            return end

        return add

    def sequence(self) -> Part:
        parts: list[Part] = []
        while self.at < len(self.text) and not self.peek("|") and not self.peek(")"):
            if self.take("\\Q"):
                place = self.text.find("\\E", self.at)
                quoted = self.text[self.at : place if place >= 0 else None]
                self.at += len(quoted) + (2 if place >= 0 else 0)
                parts += [self.one(((ord(c), ord(c)),)) for c in quoted]
            else:
                part = self.atom()
                parts.append(self.repeated(part))

        def add(made: Automaton, state: int) -> int:
            for part in parts:
                state = part(made, state)
            return state

        return add

    def repeated(self, part: Part) -> Part:
        while bounds := self.bounds():
            low, high = bounds
            self.take("?")
            if self.peek("*") or self.peek("+") or self.bounds(ahead=True):
                raise PatternError("a repetition of a repetition")
            part = _times(part, low, high)
        return part

    def bounds(self, ahead: bool = False) -> tuple[int, int | None] | None:
        """How often the part before may stand; none where no repetition follows."""
        start = self.at
        found: tuple[int, int | None] | None = None
        if self.take("*"):
            found = 0, None
        elif self.take("+"):
            found = 1, None
        elif self.take("?"):
            found = 0, 1
        elif self.take("{"):
            inside = self.text[self.at :].partition("}")
            low, comma, high = inside[0].partition(",")
            if inside[1] and low.isdecimal() and (not high or high.isdecimal()) and (comma or not high):
                self.at += len(inside[0]) + 1
                least, most = int(low), (int(high) if high else None if comma else int(low))
                if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
                    raise PatternError(f"a repetition {{{inside[0]}}}")
                found = least, most
            else:
                self.at = start
        if ahead:
            self.at = start
        return found

    def atom(self) -> Part:
        c = self.next()
        if c == "(":
            return self.group()
        if c == "[":
            return self.one(self.bracket())
        if c == ".":
            return self.one(complement(()) if "s" in self.flags else complement(NEWLINE))
        if c in "^$":
            names = {"^": ("start", "line start"), "$": ("end", "line end")}[c]
            return _assertion(names["m" in self.flags])
        if c in "*+?":
            raise PatternError(f"{c} with nothing before it")
        if c == "\\":
            return self.escape()
        return self.one(((ord(c), ord(c)),))

    def one(self, ranges: Ranges) -> Part:
        chosen = folded(ranges) if "i" in self.flags else ranges

        def add(made: Automaton, start: int) -> int:
            end = made.state()
            made.steps[start] = chosen, end
            after = made.state()
            made.leap(end, after)
            return after

        return add

    def group(self) -> Part:
        flags = self.flags
        if self.take("?"):
            if self.take("P<") or (self.peek("<") and self.text[self.at + 1 : self.at + 2] not in ("=", "!")):
                self.until(">")
            else:
                self.set_flags()
                if self.take(")"):
                    return _nothing
                if not self.take(":"):
                    raise PatternError(f"(?{self.next()}")
        part = self.choice()
        if not self.take(")"):
            raise PatternError("no closing parenthesis")
        self.flags = flags
        return part

    def set_flags(self) -> None:
        on = True
        while self.text[self.at : self.at + 1] in tuple("imsU-"):
            c = self.next()
            if c == "-":
                on = False
            else:
                self.flags = self.flags.replace(c, "") + (c if on else "")

    def escape(self) -> Part:
        c = self.next()
        if c in "bB":
            return _assertion({"b": "word", "B": "no word"}[c])
        if c in "Az":
            return _assertion({"A": "start", "z": "end"}[c])
        self.at -= 1
        return self.one(self.escaped())

    def escaped(self) -> Ranges:
        """What stands behind a backslash, as a set."""
        c = self.next()
        if c.lower() in _PERL:
            return _PERL[c] if c.islower() else complement(_PERL[c.lower()])
        if c in "pP":
            name = self.until("}") if self.take("{") else self.next()
            found = _category(name.removeprefix("^"))
            return complement(found) if (c == "P") != name.startswith("^") else found
        if c in _ESCAPES:
            return ((_ESCAPES[c],) * 2,)
        if c == "x":
            digits = self.until("}") if self.take("{") else self.next() + self.next()
            try:
                point = int(digits, 16)
            except ValueError:
                raise PatternError(f"\\x{digits}") from None
            if point > LAST:
                raise PatternError(f"\\x{{{digits}}}")
            return ((point, point),)
        if c == "0" or (c in "1234567" and self.text[self.at : self.at + 1] in tuple("01234567")):
            digits = c
            while len(digits) < 3 and self.text[self.at : self.at + 1] in tuple("01234567"):
                digits += self.next()
            return ((int(digits, 8),) * 2,)
        if c.isalnum():
            raise PatternError(f"\\{c}")
        return ((ord(c), ord(c)),)

    def bracket(self) -> Ranges:
        negated, first = self.take("^"), True
        found: list[tuple[int, int]] = []
        while first or not self.take("]"):
            first = False
            if self.take("[:"):
                name = self.until(":]")
                chosen = _POSIX.get(name.removeprefix("^"))
                if chosen is None:
                    raise PatternError(f"[:{name}:]")
                found += complement(chosen) if name.startswith("^") else chosen
                continue
            low = self.member()
            if len(low) == 1 and low[0][0] == low[0][1] and self.peek("-") and not self.peek("-]"):
                self.at += 1
                high = self.member()
                if len(high) != 1 or high[0][0] != high[0][1] or high[0][0] < low[0][0]:
                    raise PatternError("a range from a later to an earlier character")
                low = ((low[0][0], high[0][0]),)
            found += low
        chosen = union(found)
        if "i" in self.flags:
            chosen = folded(chosen)
        return complement(chosen) if negated else chosen

    def member(self) -> Ranges:
        c = self.next()
        return self.escaped() if c == "\\" else ((ord(c), ord(c)),)


def _nothing(made: Automaton, state: int) -> int:
    return state


def _assertion(name: str) -> Part:
    def add(made: Automaton, start: int) -> int:
        end = made.state()
        made.leap(start, end, name)
        return end

    return add


def _times(part: Part, low: int, high: int | None) -> Part:
    def add(made: Automaton, state: int) -> int:
        for _ in range(low):
            state = part(made, state)
        if high is None:
            first, end = made.state(), made.state()
            made.leap(state, first)
            made.leap(part(made, first), first)
            made.leap(first, end)
            return end
        end = made.state()
        for _ in range(high - low):
            first = made.state()
            made.leap(state, first)
            made.leap(state, end)
            state = part(made, first)
        made.leap(state, end)
        return end

    return add


EDGE, NEWLINE_KIND, WORD_KIND, OTHER = range(4)
"""What an assertion wants to know of the character before or behind it; EDGE: there is none."""


def _kind(point: int) -> int:
    return NEWLINE_KIND if point == 10 else WORD_KIND if holds(WORD, point) else OTHER


def _asserted(name: str, before: int, after: int) -> bool:
    border = (before == WORD_KIND) != (after == WORD_KIND)
    return {
        "": True, "start": before == EDGE, "end": after == EDGE, "word": border, "no word": not border,
        "line start": before in (EDGE, NEWLINE_KIND), "line end": after in (EDGE, NEWLINE_KIND),
    }[name]  # fmt: skip


@dataclass
class Machine:
    """moves: for each state, ranges of code points and the state that each leads to; accepting: states in which a string may
    end. The first state is 0."""

    moves: list[list[tuple[int, int, int]]]
    accepting: list[bool]


def deterministic(made: Automaton, last: int) -> Machine:
    """The subset construction. A state is what was reached by a step, and the kind of the character before."""
    edges = {0, LAST + 1}
    for ranges, _ in made.steps.values():
        edges.update(e for low, high in ranges for e in (low, high + 1))
    looks = any(name for ways in made.free.values() for name, _ in ways)
    if looks:
        edges.update(e for low, high in (*WORD, *NEWLINE) for e in (low, high + 1))
    starts = sorted(edges)
    pieces = [(low, high - 1) for low, high in pairwise(starts)]

    def closure(states: frozenset[int], before: int, after: int) -> set[int]:
        seen, stack = set(states), list(states)
        while stack:
            for name, end in made.free.get(stack.pop(), ()):
                if end not in seen and _asserted(name, before, after):
                    seen.add(end)
                    stack.append(end)
        return seen

    first = (frozenset({0}), EDGE)
    numbers, order = {first: 0}, [first]
    machine = Machine([], [])
    for states, before in order:
        machine.accepting.append(last in closure(states, before, EDGE))
        reached = {after: closure(states, before, after) for after in (range(1, 4) if looks else (OTHER,))}
        moves: list[tuple[int, int, int]] = []
        for low, high in pieces:
            after = _kind(low) if looks else OTHER
            steps = (made.steps[s] for s in reached[after] if s in made.steps)
            target = frozenset(end for ranges, end in steps if holds(ranges, low))
            if not target:
                continue
            number = numbers.setdefault((target, after), len(numbers))
            if number == len(order):
                order.append((target, after))
            if len(order) > MOST_STATES:
                raise PatternError("a pattern whose deterministic automaton has so many states")
            if moves and moves[-1][1] == low - 1 and moves[-1][2] == number:
                moves[-1] = moves[-1][0], high, number
            else:
                moves.append((low, high, number))
        machine.moves.append(moves)
    return machine


DEAD = 0
"""Of the table: the state that nothing leads out of."""
Segments = tuple[tuple[int, int, int], ...]


def over_bytes(machine: Machine) -> tuple[np.ndarray, np.ndarray]:
    """(next state by state and byte, whether a state accepts): state 0 is DEAD, state 1 the first one."""
    count = len(machine.moves) + 1
    rows: list[list[int]] = [[DEAD] * 256 for _ in range(count)]
    known: dict[tuple[int, Segments], int] = {}

    def within(moves: Sequence[tuple[int, int, int]], low: int, high: int) -> Segments:
        """The moves on code points of a range, counted from its start."""
        return tuple(
            (max(a, low) - low, min(b, high) - low, t) for a, b, t in moves if a <= high and b >= low
        )

    def behind(depth: int, moves: Segments) -> int:
        """The state in which so many more bytes say which of 64 ** depth code points it is."""
        if not moves:
            return DEAD
        if (depth, moves) not in known:
            if len(rows) > MOST_STATES:
                raise PatternError("a pattern whose table has so many states")
            number = known[depth, moves] = len(rows)
            rows.append([DEAD] * 256)
            size = 64 ** (depth - 1)
            for i in range(64):
                inner = within(moves, i * size, (i + 1) * size - 1)
                rows[number][0x80 + i] = target(depth, inner)
        return known[depth, moves]

    def target(depth: int, moves: Segments) -> int:
        """The state after one byte of `depth`."""
        if depth > 1:
            return behind(depth - 1, moves)
        return moves[0][2] + 1 if moves else DEAD

    for state, moves in enumerate(machine.moves):
        row = rows[state + 1]
        for lead, depth, start, low, high in _leads():
            inside = tuple((a + low - start, b + low - start, t) for a, b, t in within(moves, low, high))
            row[lead] = target(depth + 1, inside)
    accepting = np.zeros(len(rows), np.bool_)
    accepting[1:count] = machine.accepting
    return np.array(rows, np.int32), accepting


def _leads() -> Iterator[tuple[int, int, int, int, int]]:
    """Each byte that begins a character: how many follow, the code point where these are zero, and the least and the
    largest one that there is."""
    for lead in (*range(0x80), *range(0xC2, 0xF5)):
        depth = 0 if lead < 0x80 else 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
        start = (lead - (0, 0xC0, 0xE0, 0xF0)[depth]) * 64**depth
        low = max(start, (0, 0x80, 0x800, 0x10000)[depth])
        high = min(start + 64**depth - 1, LAST)
        yield lead, depth, start, low, 0xD7FF if lead == 0xED else high


def table_of(pattern: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(class of each byte, next state by state and class, whether a state accepts). Raises PatternError."""
    made = Automaton()
    last = Parser(pattern).parse()(made, made.state())
    rows, accepting = over_bytes(deterministic(made, last))
    columns, classes = np.unique(rows, axis=1, return_inverse=True)
    return classes.reshape(-1).astype(np.int32), columns, accepting


@lowers("RegexFullMatch")
def regex_full_match(ctx: Context, node: Node) -> Operand:
    """Whether the whole of each string matches."""
    try:
        return matching(ctx, node.input(0), str(node.get("pattern", "")))
    except (PatternError, RecursionError) as error:
        cause = "parentheses inside one another" if isinstance(error, RecursionError) else str(error)
        raise node.unsupported(f"{cause} in the pattern", "write the pattern in another way") from error


def matching(ctx: Context, x: Operand, pattern: str) -> Operand:
    """Whether the whole of each string matches a pattern. Raises PatternError."""
    by_byte, table, ends = (ctx.constant(np.ascontiguousarray(a)) for a in table_of(pattern))
    output = ctx.tensor("bool", x.shape)

    def body(r: Writer) -> None:
        text, state = r.let(ctx.read(x, r.tasks), "text"), r.let(Const(1, "i32"), "state")
        with r.loop(LONGEST, stop=as_index(length_of(text))) as i:
            kind = ctx.read(by_byte, [as_index(cast(byte_of(text, Index(ix(i))), "i64"))])
            r.assign(state, ctx.read(table, [as_index(state), as_index(kind)]))
        r.write(output, r.tasks, ctx.read(ends, [as_index(state)]))

    return ctx.routine("match", [output], body, tasks=x.shape, work=256)[0]
