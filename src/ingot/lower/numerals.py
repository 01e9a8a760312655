"""Casts between strings and numbers.

Strings are decimal numbers, which are rounded once, to nearest. How numbers are written the specification leaves open, and
ONNX Runtime and onnx.reference differ; here it is as in ONNX Runtime: integers in full, floats as C's "%.8g", "NaN", "INF"
or "-INF", bools as 1 or 0.

Both ways between decimal and binary go by one exact representation, nine decimal digits in a limb, which is multiplied and divided
by powers of two.
"""

from __future__ import annotations

import numpy as np

from ingot.ir.index import Ix, IxLike, minimum, product
from ingot.ir.nodes import Cast, Const, Index, Local, Read, Select, Text, Value, as_index
from ingot.ir.program import Tensor
from ingot.lower.context import Context
from ingot.lower.elementwise import op
from ingot.lower.operand import Operand
from ingot.lower.regex import matching
from ingot.lower.strings import LONGEST, Put, byte_of, copied, integer, length_of, outside_loops
from ingot.lower.values import cast, ravel
from ingot.lower.writer import Writer

DIGITS = 9
BASE = 10**DIGITS
UNITS = 34
"""The limb of the units, with 315 digits before the point: more than a float64 has."""
LIMBS = UNITS + 129
"""With 1,152 digits behind the point: more than lie between two neighbouring float64, or halfway between them."""
STEP = 29
"""The most that one multiplication or division shifts, so that nothing passes 64 bits."""
TASKS = 16
"""Rows of limbs that there are, and so strings that are worked on at a time."""
SHOWN = 8
"""Significant digits of a float."""
ROOM = 20
"""Bytes of a written number, such as the least int64 or -1.2345678e-308."""
NUMBER = r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"
SPECIAL = r"\s*[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])\s*"
FORMATS = {"f32": (24, -149), "f64": (53, -1074)}
"""Bits of the mantissa, and the exponent of the least positive number."""


def u64(number: int) -> Value:
    return Const(number, "u64")


class Decimal:
    """A number that is not negative, in a row of limbs.

    first, last: limbs outside of these are 0; first > last of 0. more: whether it is more than the limbs say, by less
    than one in the last limb of all.
    """

    def __init__(self, r: Writer, limbs: Tensor, row: Ix) -> None:
        self.r, self.limbs, self.row = r, limbs, row
        with r.loop(LIMBS) as i:
            r.write(limbs, [row, i], u64(0))
        self.first = r.let(integer(LIMBS), "first")
        self.last = r.let(integer(-1), "last")
        self.more = r.let(Const(False, "bool"), "more")

    def limb(self, at: Value) -> Value:
        return self.r.read(self.limbs, [self.row, as_index(at)])

    def add(self, at: Value, value: Value) -> None:
        """value: not 0; the limb stays below BASE."""
        self.set(at, op("add", self.limb(at), value))
        self.r.assign(self.first, op("min", self.first, at))
        self.r.assign(self.last, op("max", self.last, at))

    def set(self, at: Value, value: Value) -> None:
        self.r.write(self.limbs, [self.row, as_index(at)], value)

    def count(self) -> Ix:
        return as_index(op("add", op("sub", self.last, self.first), integer(1)))

    def multiply(self, power: Value) -> None:
        """By 2^power, at most 2^STEP."""
        r = self.r
        carry, shift = r.let(u64(0), "carry"), r.let(cast(power, "u64"), "shift")
        with r.loop(LIMBS, stop=self.count()) as i:
            at = r.let(op("sub", self.last, Index(i)), "at")
            whole = r.let(op("add", op("shl", self.limb(at), shift), carry), "whole")
            r.assign(carry, op("div", whole, u64(BASE)))
            self.set(at, op("sub", whole, op("mul", carry, u64(BASE))))
        with r.when(op("gt", carry, u64(0))):
            r.assign(self.first, op("sub", self.first, integer(1)))
            self.set(self.first, carry)
        with r.loop(-(-STEP // DIGITS)), r.when(op("lt", self.first, self.last)):
            empty = op("eq", self.limb(self.last), u64(0))
            r.assign(self.last, op("sub", self.last, cast(empty, "i64")))

    def divide(self, power: Value) -> None:
        """By 2^power, at most 2^STEP."""
        r = self.r
        rest, shift = r.let(u64(0), "rest"), r.let(cast(power, "u64"), "shift")
        mask = r.let(op("sub", op("shl", u64(1), shift), u64(1)), "mask")

        def shifted(at: Value, whole: Local) -> None:
            self.set(at, op("shr", whole, shift))
            r.assign(rest, op("bitand", whole, mask))

        with r.loop(LIMBS, stop=self.count()) as i:
            at = r.let(op("add", self.first, Index(i)), "at")
            shifted(at, r.let(op("add", self.limb(at), op("mul", rest, u64(BASE))), "whole"))
        with r.loop(-(-STEP // DIGITS)):
            room = op("lt", self.last, integer(LIMBS - 1))
            with r.when(op("and", op("ne", rest, u64(0)), room)):
                r.assign(self.last, op("add", self.last, integer(1)))
                shifted(self.last, r.let(op("mul", rest, u64(BASE)), "whole"))
        r.assign(self.more, op("or", self.more, op("ne", rest, u64(0))))
        with r.when(op("lt", self.first, self.last)):
            empty = op("eq", self.limb(self.first), u64(0))
            r.assign(self.first, op("add", self.first, cast(empty, "i64")))

    def whole(self) -> Value:
        """The integer part of one below 10^18."""
        return op("add", op("mul", self.limb(integer(UNITS - 1)), u64(BASE)), self.limb(integer(UNITS)))

    def anything(self, since: Value) -> Local:
        """Whether it is more than the limbs before `since` say."""
        r = self.r
        found = r.let(self.more, "rest")
        with r.loop(LIMBS, stop=as_index(op("add", self.last, integer(1))), start=as_index(since)) as i:
            r.assign(found, op("or", found, op("ne", self.limb(Index(i)), u64(0))))
        return found


def width(number: Value) -> Value:
    """The bits that a u64 below 2^60 takes, perhaps one more; of 0 less than -1000."""
    exact = Cast(cast(number, "i64"), "f64")
    return op("sub", op("shr", Cast(exact, "i64", bits=True), integer(52)), integer(1022))


def _in_tasks(r: Writer, count: Ix) -> tuple[IxLike, Ix]:
    """Start and stop of what a task does."""
    (task,) = r.tasks
    share = (count + (TASKS - 1)) // TASKS
    return task * share, minimum(task * share + share, count)


def numbers_of(ctx: Context, x: Operand, dtype: str) -> Operand:
    """Strings as numbers, f32, f64, i64 or u64, that become those of a dtype when they are cast to it.

    White space around a number does not count. Floats beyond the range become infinite. To integers the part behind the point is
    left out. A run with a string that is no number, or, for integers, one outside of the dtype's range, ends with an error.
    """
    whole = dtype[0] in "iu"
    kind = dtype if dtype in FORMATS else "u64" if dtype == "u64" else "i64" if whole else "f32"
    good = matching(ctx, x, NUMBER if whole else f"{NUMBER}|{SPECIAL}")
    wrong = "a string is no finite number" if whole else "a string is no number"
    ctx.demand(x.shape, lambda at: ctx.read(good, at), wrong)
    count = product(x.shape)
    flat = ctx.reshape(x, [count])
    results, fits = ctx.tensor(kind, [count]), ctx.tensor("bool", [count])
    limbs = ctx.tensor("u64", [TASKS, LIMBS])
    powers = ctx.constant(np.array([10**k for k in range(DIGITS)], np.uint64))

    def body(r: Writer) -> None:
        start, stop = _in_tasks(r, count)
        with r.loop(count, start, stop) as i:
            text = r.let(ctx.read(flat, [i]), "text")
            read = _Numeral(ctx, r, text, powers)
            number = Decimal(r, limbs, r.tasks[0])
            huge = read.digits(number)
            if whole:
                value, right = _integer(r, number, huge, read.negative, dtype)
                r.write(fits, [i], right)
                r.write(results, [i], cast(value, kind))
            else:
                r.write(results, [i], _float(r, number, huge, read, kind, dtype not in FORMATS))

    tensors = [results, *([fits] if whole else []), limbs]
    made = ctx.routine("numbers", tensors, body, tasks=[TASKS], work=(count // TASKS + 1) * 512)
    if whole:
        ctx.demand([count], lambda at: ctx.read(made[1], at), f"a string is no number that {dtype} holds")
    return ctx.reshape(made[0], x.shape)


class _Numeral:
    """The parts of a string that is known to be a number.

    special: the first letter of INF or NaN, in lower case, else 0. whole: digits before the point.
    """

    def __init__(self, ctx: Context, r: Writer, text: Local, powers: Operand) -> None:
        self.ctx, self.r, self.text, self.powers = ctx, r, text, powers
        self.negative = r.let(Const(False, "bool"), "negative")
        self.special = r.let(Const(0, "u8"), "special")
        self.whole, self.exponent = r.let(integer(0), "whole"), r.let(integer(0), "exponent")
        pointed, scaled, down = (r.let(Const(False, "bool"), n) for n in ("pointed", "scaled", "down"))
        with r.loop(LONGEST, stop=as_index(length_of(text))) as i:
            byte = r.let(byte_of(text, Index(i)), "byte")
            lower = r.let(op("bitor", byte, Const(32, "u8")), "lower")
            with r.when(self._is_digit(byte)):
                with r.when(scaled):
                    grown = op("add", op("mul", self.exponent, integer(10)), self._digit(byte))
                    r.assign(self.exponent, op("min", grown, integer(LONGEST)))
                with r.otherwise():
                    r.assign(self.whole, op("add", self.whole, cast(op("not", pointed), "i64")))
            minus = r.let(_is(byte, "-"), "minus")
            r.assign(down, op("or", down, op("and", minus, scaled)))
            r.assign(self.negative, op("or", self.negative, op("and", minus, op("not", scaled))))
            r.assign(pointed, op("or", pointed, _is(byte, ".")))
            r.assign(scaled, op("or", scaled, _is(lower, "e")))
            starts = op(
                "and", op("eq", self.special, Const(0, "u8")), op("or", _is(lower, "i"), _is(lower, "n"))
            )
            r.assign(self.special, Select(starts, lower, self.special))
        r.assign(self.exponent, Select(down, op("neg", self.exponent), self.exponent))

    def digits(self, number: Decimal) -> Local:
        """Adds the number's digits to one that is 0, and says whether it has some that are too high for it."""
        r = self.r
        huge, scaled = r.let(Const(False, "bool"), "huge"), r.let(Const(False, "bool"), "behind")
        top = integer((UNITS + 1) * DIGITS)
        place = r.let(op("sub", top, op("add", self.whole, self.exponent)), "place")
        with r.loop(LONGEST, stop=as_index(length_of(self.text))) as i:
            byte = r.let(byte_of(self.text, Index(i)), "byte")
            r.assign(scaled, op("or", scaled, _is(op("bitor", byte, Const(32, "u8")), "e")))
            with r.when(op("and", self._is_digit(byte), op("not", scaled))):
                digit = r.let(self._digit(byte), "digit")
                some = r.let(op("ne", digit, integer(0)), "some")
                with r.when(op("and", some, op("lt", place, integer(0)))):
                    r.assign(huge, Const(True, "bool"))
                with r.when(op("and", some, op("ge", place, integer(LIMBS * DIGITS)))):
                    r.assign(number.more, Const(True, "bool"))
                inside = op("and", op("ge", place, integer(0)), op("lt", place, integer(LIMBS * DIGITS)))
                with r.when(op("and", some, inside)):
                    at = r.let(op("div", place, integer(DIGITS)), "at")
                    behind = op("sub", place, op("mul", at, integer(DIGITS)))
                    power = self.ctx.read(self.powers, [as_index(op("sub", integer(DIGITS - 1), behind))])
                    number.add(at, op("mul", cast(digit, "u64"), power))
                r.assign(place, op("add", place, integer(1)))
        return huge

    def _is_digit(self, byte: Value) -> Value:
        return op("and", op("ge", byte, Const(ord("0"), "u8")), op("le", byte, Const(ord("9"), "u8")))

    def _digit(self, byte: Value) -> Value:
        return op("sub", cast(byte, "i64"), integer(ord("0")))


def _is(byte: Value, character: str) -> Value:
    return op("eq", byte, Const(ord(character), "u8"))


def _integer(r: Writer, number: Decimal, huge: Value, negative: Value, dtype: str) -> tuple[Value, Value]:
    """The integer part with its sign, and whether it is one of dtype."""
    bits, signed = int(dtype[1:]), dtype[0] == "i"
    top, low = (1 << (bits - signed)) - 1, -(1 << (bits - 1)) if signed else 0
    high = r.let(number.limb(integer(UNITS - 2)), "high")
    rest = r.let(number.whole(), "rest")
    split = BASE * BASE
    tests = []
    for limit in (top, -low):
        same = op("and", op("eq", high, u64(limit // split)), op("le", rest, u64(limit % split)))
        tests.append(op("or", op("lt", high, u64(limit // split)), same))
    fits = op("and", Select(negative, tests[1], tests[0]), op("ge", number.first, integer(UNITS - 2)))
    size = r.let(op("add", op("mul", high, u64(split)), rest), "size")
    value = Select(negative, op("sub", u64(0), size), size)
    return value, op("and", fits, op("not", huge))


def _float(r: Writer, number: Decimal, huge: Value, read: _Numeral, dtype: str, odd: bool) -> Value:
    """The number rounded to dtype, to nearest and of two the even one; with `odd` what is between two numbers becomes the one with
    an odd last bit, so that rounding it again to fewer bits is right."""
    mantissa, least = FORMATS[dtype]
    power, bits = r.let(integer(0), "power"), r.let(u64(0), "bits")
    infinite = ((1 << (63 if dtype == "f64" else 31)) - 1) >> (mantissa - 1) << (mantissa - 1)
    with r.when(op("le", number.first, number.last)):
        # Until the integer part has 57 bits or more and is still below 10^18; a digit is less than 4 bits.
        with r.loop((LIMBS - UNITS) * DIGITS * 4 // STEP):
            with r.when(op("lt", number.first, integer(UNITS - 1))):
                number.divide(integer(STEP))
                r.assign(power, op("add", power, integer(STEP)))
            with r.otherwise():
                shift = r.let(
                    op("min", op("sub", integer(58), width(number.whole())), integer(STEP)), "shift"
                )
                with r.when(op("gt", shift, integer(0))):
                    number.multiply(shift)
                    r.assign(power, op("sub", power, shift))
        value = r.let(number.whole(), "value")
        rest = number.anything(integer(UNITS + 1))
        drop = op("max", op("sub", width(value), integer(mantissa)), op("sub", integer(least), power))
        drop = r.let(op("min", drop, integer(62)), "drop")
        r.assign(power, op("max", op("add", power, drop), integer(least)))
        below = r.let(op("sub", op("shl", u64(1), cast(drop, "u64")), u64(1)), "below")
        left = r.let(op("bitand", value, below), "left")
        kept = r.let(op("shr", value, cast(drop, "u64")), "kept")
        is_odd = op("ne", op("bitand", kept, u64(1)), u64(0))
        if odd:
            up = op("and", op("or", rest, op("ne", left, u64(0))), op("not", is_odd))
        else:
            half = op("add", op("shr", below, u64(1)), u64(1))
            tie = op("and", op("eq", left, half), op("or", rest, is_odd))
            up = op("or", op("gt", left, half), tie)
        exponent = cast(op("sub", power, integer(least)), "u64")
        whole = op("add", op("shl", exponent, u64(mantissa - 1)), op("add", kept, cast(up, "u64")))
        r.assign(bits, op("min", whole, u64(infinite)))
    endless = op("or", huge, _is(read.special, "i"))
    r.assign(bits, Select(endless, u64(infinite), bits))
    r.assign(bits, Select(_is(read.special, "n"), u64(infinite | 1 << (mantissa - 2)), bits))
    sign = u64(1 << (63 if dtype == "f64" else 31))
    r.assign(bits, op("bitor", bits, Select(read.negative, sign, u64(0))))
    return Cast(cast(bits, "u64" if dtype == "f64" else "u32"), dtype, bits=True)


def texts_of(ctx: Context, x: Operand) -> Operand:
    """Numbers as strings."""
    outside_loops(ctx)
    count = product(x.shape)
    flat = ctx.reshape(x, [count])
    letters, lengths = ctx.tensor("u8", [count * ROOM]), ctx.tensor("i64", [count])
    limbs = ctx.tensor("u64", [TASKS, LIMBS])
    powers = ctx.constant(np.array([10**k for k in range(ROOM)], np.uint64))
    real = x.dtype in ("f16", "f32", "f64")

    def body(r: Writer) -> None:
        start, stop = _in_tasks(r, count)
        with r.loop(count, start, stop) as i:
            at = r.let(integer(0), "at")

            def put(byte: Value) -> None:
                r.write(letters, [i * ROOM + as_index(at)], byte)
                r.assign(at, op("add", at, integer(1)))

            value = r.let(ctx.read(flat, [i]), "value")
            if real:
                _write_float(ctx, r, Cast(value, "f64") if x.dtype != "f64" else value, powers, limbs, put)
            else:
                _write_integer(ctx, r, value, powers, put)
            r.write(lengths, [i], at)

    tensors = [lengths, letters, *([limbs] if real else [])]
    made = ctx.routine("texts", tensors, body, tasks=[TASKS], work=(count // TASKS + 1) * 512)

    def text(axes: tuple) -> Value:  # type: ignore[type-arg]
        place = ravel(axes, x.shape)
        return Text(Read(letters, (place * ROOM,)), ctx.read(made[0], [place]))

    return ctx.map(x.shape, "str", text)


def _put_digit(digit: Value, put: Put) -> None:
    put(op("add", cast(digit, "u8"), Const(ord("0"), "u8")))


def _count_digits(ctx: Context, r: Writer, number: Value, powers: Operand) -> Local:
    """Decimal digits of a u64, 1 of 0."""
    count = r.let(integer(1), "count")
    with r.loop(ROOM - 1) as k:
        more = op("ge", number, ctx.read(powers, [k + 1]))
        r.assign(count, op("add", count, cast(more, "i64")))
    return count


def _nth_digit(ctx: Context, number: Value, behind: Value, powers: Operand) -> Value:
    """The digit of a u64 that so many others follow."""
    whole = op("div", number, ctx.read(powers, [as_index(behind)]))
    return op("mod", whole, u64(10))


def _write_integer(ctx: Context, r: Writer, value: Value, powers: Operand, put: Put) -> None:
    size = r.let(cast(value, "u64"), "size")
    if value.dtype[0] == "i":
        with r.when(op("lt", value, Const(0, value.dtype))):
            put(Const(ord("-"), "u8"))
            r.assign(size, op("sub", u64(0), size))
    count = _count_digits(ctx, r, size, powers)
    with r.loop(ROOM, stop=as_index(count)) as i:
        behind = op("sub", op("sub", count, integer(1)), Index(i))
        _put_digit(_nth_digit(ctx, size, behind, powers), put)


def _write_float(ctx: Context, r: Writer, value: Value, powers: Operand, limbs: Tensor, put: Put) -> None:
    bits = r.let(Cast(value, "u64", bits=True), "bits")
    special = r.let(op("ge", op("shl", bits, u64(1)), u64(0x7FF << 53)), "special")
    nan = r.let(op("gt", op("shl", bits, u64(1)), u64(0x7FF << 53)), "nan")
    with r.when(op("and", op("ne", op("shr", bits, u64(63)), u64(0)), op("not", nan))):
        put(Const(ord("-"), "u8"))
    with r.when(special):
        copied(r, Select(nan, Const(b"NaN", "str"), Const(b"INF", "str")), put)
    with r.otherwise():
        digits, exponent = _rounded(ctx, r, bits, powers, limbs)
        _write_rounded(ctx, r, digits, exponent, powers, put)


def _rounded(ctx: Context, r: Writer, bits: Local, powers: Operand, limbs: Tensor) -> tuple[Local, Local]:
    """The SHOWN digits of the size of a float64, as a u64, and the power of ten of the first one."""
    digits, exponent = r.let(u64(0), "digits"), r.let(integer(0), "exponent")
    biased = r.let(cast(op("bitand", op("shr", bits, u64(52)), u64(0x7FF)), "i64"), "biased")
    fraction = op("bitand", bits, u64((1 << 52) - 1))
    full = op("bitor", fraction, u64(1 << 52))
    mantissa = r.let(Select(op("gt", biased, integer(0)), full, fraction), "mantissa")
    power = r.let(op("sub", op("max", biased, integer(1)), integer(1075)), "power")
    number = Decimal(r, limbs, r.tasks[0])
    for at, part in ((UNITS - 1, op("div", mantissa, u64(BASE))), (UNITS, op("mod", mantissa, u64(BASE)))):
        limb = r.let(part, "limb")
        with r.when(op("ne", limb, u64(0))):
            number.add(integer(at), limb)
    with r.when(op("ne", mantissa, u64(0))):
        with r.loop(1075 // STEP + 1):
            with r.when(op("gt", power, integer(0))):
                step = r.let(op("min", power, integer(STEP)), "step")
                number.multiply(step)
                r.assign(power, op("sub", power, step))
            with r.when(op("lt", power, integer(0))):
                step = r.let(op("min", op("neg", power), integer(STEP)), "step")
                number.divide(step)
                r.assign(power, op("add", power, step))
        after = r.let(op("add", number.first, integer(1)), "after")
        lead = r.let(op("add", op("mul", number.limb(number.first), u64(BASE)), number.limb(after)), "lead")
        rest = number.anything(op("add", after, integer(1)))
        count = _count_digits(ctx, r, lead, powers)
        unit = r.let(ctx.read(powers, [as_index(op("sub", count, integer(SHOWN)))]), "unit")
        r.assign(digits, op("div", lead, unit))
        left, half = r.let(op("mod", lead, unit), "left"), op("div", unit, u64(2))
        is_odd = op("ne", op("bitand", digits, u64(1)), u64(0))
        tie = op("and", op("eq", left, half), op("or", rest, is_odd))
        r.assign(digits, op("add", digits, cast(op("or", op("gt", left, half), tie), "u64")))
        r.assign(
            exponent,
            op(
                "add",
                op("mul", op("sub", integer(UNITS), after), integer(DIGITS)),
                op("sub", count, integer(1)),
            ),
        )
        with r.when(op("eq", digits, u64(10**SHOWN))):
            r.assign(digits, u64(10 ** (SHOWN - 1)))
            r.assign(exponent, op("add", exponent, integer(1)))
    return digits, exponent


def _write_rounded(
    ctx: Context, r: Writer, digits: Local, exponent: Local, powers: Operand, put: Put
) -> None:
    """Without zeros at the end, with an exponent where it is less than -4 or has no digit for the units."""
    count = r.let(integer(SHOWN), "count")
    with r.loop(SHOWN - 1), r.when(op("eq", op("mod", digits, u64(10)), u64(0))):
        r.assign(digits, op("div", digits, u64(10)))
        r.assign(count, op("sub", count, integer(1)))
    scaled = op("or", op("lt", exponent, integer(-4)), op("ge", exponent, integer(SHOWN)))
    scaled = r.let(scaled, "scaled")
    lead = r.let(Select(scaled, integer(0), exponent), "lead")
    start = r.let(op("min", lead, integer(0)), "start")
    end = r.let(op("max", lead, op("sub", count, integer(1))), "end")
    with r.loop(ROOM, stop=as_index(op("add", op("sub", end, start), integer(1)))) as i:
        place = r.let(op("add", start, Index(i)), "place")
        behind = r.let(op("sub", op("sub", count, integer(1)), place), "behind")
        inside = op("and", op("ge", place, integer(0)), op("ge", behind, integer(0)))
        _put_digit(Select(inside, _nth_digit(ctx, digits, behind, powers), u64(0)), put)
        with r.when(op("and", op("eq", place, lead), op("lt", place, end))):
            put(Const(ord("."), "u8"))
    with r.when(scaled):
        put(Const(ord("e"), "u8"))
        put(Select(op("lt", exponent, integer(0)), Const(ord("-"), "u8"), Const(ord("+"), "u8")))
        size = r.let(op("abs", exponent), "size")
        with r.when(op("ge", size, integer(100))):
            _put_digit(op("div", size, integer(100)), put)
        _put_digit(op("mod", op("div", size, integer(10)), integer(10)), put)
        _put_digit(op("mod", size, integer(10)), put)
