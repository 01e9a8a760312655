"""Operators on strings, and what others build with: words looked up in a sorted table, and strings made in a run.

The bytes of strings that a run makes lie in a tensor of their own until the run is over. A run in which they are more than
its bound ends with an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from ingot.ir.index import Ix, IxLike, product
from ingot.ir.nodes import Acc, Const, Index, Local, Op, Read, Select, Text, Value, as_index
from ingot.ir.program import Loop, Reduce
from ingot.lower.context import Context
from ingot.lower.elementwise import op
from ingot.lower.operand import Node, Operand, object_array
from ingot.lower.registry import lowers
from ingot.lower.selection import places
from ingot.lower.writer import Writer

ROOM = 1 << 16
PER_STRING = 256
"""Bytes that one operator may make in a run: ROOM, and so many more for each string."""
MOST_PARTS = 256
"""Parts that StringSplit may make of a string where `maxsplit` sets no limit."""
LONGEST = 1 << 40
"""Bytes of a string, as a bound of loops over it."""
SPACES = tuple(
    chr(c).encode() for c in (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029,
                              0x202F, 0x205F, 0x3000)
)  # fmt: skip
"""Unicode's white space."""

Put = Callable[[Value], None]
"""Appends a byte, a u8, to the string that is being made."""


def integer(number: int) -> Value:
    return Const(number, "i64")


def length_of(text: Value) -> Value:
    return Op("length", (text,), "i64")


def byte_of(text: Value, at: Value) -> Value:
    return Op("byte", (text, at), "u8")


def part_of(text: Value, start: Value, length: Value) -> Value:
    return Op("part", (text, start, length), "str")


class Words:
    """Distinct words that strings are looked up among."""

    def __init__(self, ctx: Context, words: Sequence[bytes]) -> None:
        self.ctx, self.count = ctx, len(words)
        order = sorted(range(len(words)), key=words.__getitem__)
        self.sorted = ctx.constant(object_array([words[i] for i in order]))
        self.numbers = ctx.constant(np.array(order, np.int64))

    def find(self, r: Writer, word: Value) -> Local:
        """Which of the words a string is, -1 for none, by halving."""
        found = r.let(integer(-1), "found")
        if not self.count:
            return found
        low, high = r.let(integer(0), "low"), r.let(integer(self.count), "high")
        with r.loop(self.count.bit_length()), r.when(op("lt", low, high)):
            middle = r.let(op("div", op("add", low, high), integer(2)), "middle")
            below = r.let(op("lt", self.ctx.read(self.sorted, [as_index(middle)]), word), "below")
            r.assign(low, Select(below, op("add", middle, integer(1)), low))
            r.assign(high, Select(below, high, middle))
        with r.when(op("lt", low, integer(self.count))):
            equal = op("eq", self.ctx.read(self.sorted, [as_index(low)]), word)
            r.assign(found, Select(equal, self.ctx.read(self.numbers, [as_index(low)]), found))
        return found


def numbered(ctx: Context, x: Operand, words: Sequence[bytes]) -> Operand:
    """For each string of x, which of distinct words it is, as i64; -1 for none."""
    table, output = Words(ctx, words), ctx.tensor("i64", x.shape)

    def body(r: Writer) -> None:
        r.write(output, r.tasks, table.find(r, r.let(ctx.read(x, r.tasks), "word")))

    return ctx.routine("find", [output], body, tasks=x.shape, work=16 * len(words).bit_length())[0]


def outside_loops(ctx: Context) -> None:
    """Raise IngotError unsupported inside a loop, whose next turn would write over strings that live on."""
    if any(isinstance(guard, Loop) for guard in ctx.guards):
        raise ctx.node.unsupported("strings that are made inside a loop", "make them before or after it")


def made(ctx: Context, lengths: Operand, write: Callable[[Writer, Sequence[Ix], Put], None]) -> Operand:
    """Strings of as many bytes as `lengths` (i64) says. write: hands on the bytes of the one at an index, in order."""
    outside_loops(ctx)
    shape, count = lengths.shape, product(lengths.shape)
    starts, total = ctx.tensor("i64", shape), ctx.tensor("i64", ())
    most = count * PER_STRING + ROOM

    def sums(r: Writer) -> None:
        end = r.let(integer(0), "end")
        with r.loops(shape) as at:
            r.write(starts, at, end)
            r.assign(end, op("min", op("add", end, ctx.read(lengths, at)), Index(most + 1)))
        r.write(total, [], end)

    placed = ctx.routine("places", [total, starts], sums, work=4)
    size = ctx.measure(placed[0], most=most)
    letters = ctx.tensor("u8", [size])

    def body(r: Writer) -> None:
        at = r.let(ctx.read(placed[1], r.tasks), "at")

        def put(byte: Value) -> None:
            r.write(letters, [as_index(at)], byte)
            r.assign(at, op("add", at, integer(1)))

        write(r, r.tasks, put)

    ctx.routine("letters", [letters], body, tasks=shape, work=PER_STRING)

    def text(axes: Sequence[IxLike]) -> Value:
        return Text(Read(letters, (as_index(ctx.read(placed[1], axes)),)), ctx.read(lengths, axes))

    return ctx.map(shape, "str", text)


def copied(r: Writer, text: Value, put: Put) -> None:
    """All bytes of a string."""
    with r.loop(LONGEST, stop=as_index(length_of(text))) as i:
        put(byte_of(text, Index(i)))


@lowers("StringConcat")
def string_concat(ctx: Context, node: Node) -> Operand:
    operands = node.operands()
    shape = ctx.broadcast(*(x.shape for x in operands))

    def texts(at: Sequence[IxLike]) -> list[Value]:
        return [ctx.read_broadcast(x, at) for x in operands]

    lengths = ctx.map(shape, "i64", lambda at: op("add", *map(length_of, texts(at))))

    def write(r: Writer, at: Sequence[Ix], put: Put) -> None:
        for text in texts(at):
            copied(r, r.let(text, "text"), put)

    return made(ctx, lengths, write)


def characters(r: Writer, text: Value, each: Callable[[Local, Local], None]) -> None:
    """Calls `each` with where a character of a string begins and how many bytes it has; a byte that begins none counts as
    one of its own."""
    length, at = r.let(length_of(text), "length"), r.let(integer(0), "at")
    with r.loop(LONGEST, stop=as_index(length)), r.when(op("lt", at, length)):
        lead = r.let(byte_of(text, at), "lead")
        size = r.let(integer(1), "size")
        for low, many in ((0xC2, 2), (0xE0, 3), (0xF0, 4)):
            r.assign(size, Select(op("ge", lead, Const(low, "u8")), integer(many), size))
        r.assign(size, Select(op("gt", lead, Const(0xF4, "u8")), integer(1), size))
        r.assign(size, op("min", size, op("sub", length, at)))
        each(at, size)
        r.assign(at, op("add", at, size))


@lowers("StringSplit")
def string_split(ctx: Context, node: Node) -> list[Operand]:
    """The parts of each string between delimiters, or, without one, between runs of white space, and how many they are;
    empty strings fill the rows."""
    x, delimiter = node.input(0), str(node.get("delimiter") or "").encode()
    limit = int(node.get("maxsplit", -1))
    cut = _cut_at(delimiter) if delimiter else _cut_at_spaces(ctx)
    counts = ctx.tensor("i64", x.shape)

    def scan(r: Writer, at: Sequence[Ix], found: Callable[[Local, Value, Value], None]) -> Local:
        """Tells of each part its number, where it begins and its length; the number of all."""
        number = r.let(integer(0), "number")

        def part(start: Value, length: Value) -> None:
            found(number, start, length)
            r.assign(number, op("add", number, integer(1)))

        goes_on = Const(True, "bool") if limit < 0 else op("lt", number, integer(limit))
        cut(r, r.let(ctx.read(x, at), "text"), goes_on, part)
        return number

    def count(r: Writer) -> None:
        r.write(counts, r.tasks, scan(r, r.tasks, lambda *_: None))

    counted = ctx.routine("count", [counts], count, tasks=x.shape, work=PER_STRING)[0]
    over = ctx.axes(x.shape)
    longest = ctx.add(
        Reduce(ctx.tensor("i64", ()), (), op("max", Acc("i64"), integer(0)), "max", over, ctx.read(counted, over))
    ) if over else counted  # fmt: skip
    width = ctx.size(ctx.read(longest, []), MOST_PARTS if limit < 0 else limit + 1, 0, x.rank)
    parts = ctx.tensor("str", [*x.shape, width])

    def split(r: Writer) -> None:
        at = r.tasks
        with r.loop(width) as i:
            r.write(parts, [*at, i], Const(b"", "str"))

        def found(number: Local, start: Value, length: Value) -> None:
            r.write(parts, [*at, as_index(number)], part_of(ctx.read(x, at), start, length))

        scan(r, at, found)

    return [ctx.routine("split", [parts], split, tasks=x.shape, work=PER_STRING)[0], counted]


Cut = Callable[[Writer, Local, Value, Callable[[Value, Value], None]], None]
"""Finds the parts of a string, the last one at the first place where a condition on the parts so far does not hold."""


def _cut_at(delimiter: bytes) -> Cut:
    size = integer(len(delimiter))

    def cut(r: Writer, text: Local, goes_on: Value, part: Callable[[Value, Value], None]) -> None:
        length, start, at = (
            r.let(length_of(text), "length"),
            r.let(integer(0), "start"),
            r.let(integer(0), "at"),
        )
        with r.loop(LONGEST, stop=as_index(length)), r.when(op("le", op("add", at, size), length)):
            here = r.let(op("eq", part_of(text, at, size), Const(delimiter, "str")), "here")
            r.assign(here, op("and", here, goes_on))
            with r.when(here):
                part(start, op("sub", at, start))
                r.assign(at, op("add", at, size))
                r.assign(start, at)
            with r.otherwise():
                r.assign(at, op("add", at, integer(1)))
        part(start, op("sub", length, start))

    return cut


def _cut_at_spaces(ctx: Context) -> Cut:
    spaces = Words(ctx, SPACES)

    def cut(r: Writer, text: Local, goes_on: Value, part: Callable[[Value, Value], None]) -> None:
        start = r.let(integer(-1), "start")

        def each(at: Local, size: Local) -> None:
            blank = r.let(op("ge", spaces.find(r, part_of(text, at, size)), integer(0)), "blank")
            inside = r.let(op("ge", start, integer(0)), "inside")
            with r.when(op("not", op("or", inside, blank))):
                r.assign(start, at)
            with r.when(op("and", op("and", inside, blank), goes_on)):
                part(start, op("sub", at, start))
                r.assign(start, integer(-1))

        characters(r, text, each)
        with r.when(op("ge", start, integer(0))):
            part(start, op("sub", length_of(text), start))

    return cut


@cache
def case_table(action: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The characters that a change of case changes, and what becomes of each."""
    change = str.lower if action == "LOWER" else str.upper
    points = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    changed = [c for c in points if change(c) != c]
    return tuple(c.encode() for c in changed), tuple(change(c).encode() for c in changed)


def cased(ctx: Context, x: Operand, action: str) -> Operand:
    """Strings in lower or upper case, each character by itself as Unicode maps it."""
    before, after = case_table(action)
    known, results = Words(ctx, before), ctx.constant(object_array(list(after)))

    def scan(r: Writer, at: Sequence[Ix], found: Callable[[Value], None]) -> None:
        text = r.let(ctx.read(x, at), "text")

        def each(start: Local, size: Local) -> None:
            character = r.let(part_of(text, start, size), "character")
            number = known.find(r, character)
            with r.when(op("ge", number, integer(0))):
                r.assign(character, ctx.read(results, [as_index(number)]))
            found(character)

        characters(r, text, each)

    lengths = ctx.tensor("i64", x.shape)

    def measure(r: Writer) -> None:
        total = r.let(integer(0), "total")
        scan(r, r.tasks, lambda c: r.assign(total, op("add", total, length_of(c))))
        r.write(lengths, r.tasks, total)

    measured = ctx.routine("measure", [lengths], measure, tasks=x.shape, work=16 * PER_STRING)[0]
    return made(ctx, measured, lambda r, at, put: scan(r, at, lambda c: copied(r, c, put)))


@lowers("StringNormalizer")
def string_normalizer(ctx: Context, node: Node) -> Operand:
    """The strings of [C] or [1, C] that are no stop words, in another case; one empty string where none is left."""
    x, action = node.input(0), node.get("case_change_action", "NONE")
    locale = str(node.get("locale") or "en_US")
    if action not in ("NONE", "LOWER", "UPPER"):
        raise node.unsupported(f"case_change_action={action}", "use NONE, LOWER or UPPER")
    if action != "NONE" and not locale.lower().startswith(("en", "c", "posix")):
        raise node.unsupported(f"locale={locale}", "use en_US")
    if x.rank == 0 or x.rank > 2 or (x.rank == 2 and x.shape[0].is_const and x.shape[0].value != 1):
        raise node.unsupported("a tensor that is neither [C] nor [1, C]", "give a vector")
    flat = ctx.reshape(x, [x.shape[-1]])
    results = flat if action == "NONE" else cased(ctx, flat, action)
    stops, compared = [str(word) for word in node.get("stopwords") or ()], flat
    if stops and not node.get("is_case_sensitive", 0):
        stops = ["".join(c.lower() for c in word) for word in stops]
        compared = results if action == "LOWER" else cased(ctx, flat, "LOWER")
    length = flat.shape[0]
    numbers = numbered(ctx, compared, sorted({word.encode() for word in stops}))
    left, which = places(ctx, length, lambda i: op("lt", ctx.read(numbers, [i]), integer(0)))
    size = ctx.size(op("max", left, integer(1)), length + 1, 0, x.rank - 1)

    output = ctx.tensor("str", [size])

    def body(r: Writer) -> None:
        with r.when(op("gt", left, integer(0))):
            r.write(output, r.tasks, ctx.read(results, [as_index(ctx.read(which, r.tasks))]))
        with r.otherwise():
            r.write(output, r.tasks, Const(b"", "str"))

    return ctx.reshape(ctx.routine("keep", [output], body, tasks=[size])[0], [*x.shape[:-1], size])
