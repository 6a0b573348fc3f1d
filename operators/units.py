"""Units as text: what a unit is worth in SI, and whether two of them measure the same thing.

A unit is a product of symbols with powers, `m/s^2`, `N*m`, `kWh/d`, `1/min`; SI prefixes go before the SI symbols.
Choices where custom is double: `g` is standard gravity (9.80665 m/s^2), so the gram is `gram`; `rpm` and `deg` are
angles (rad is its own dimension here, so that an angle never passes for a plain number); `degC` inside a product is a
difference of temperature. What no symbol names is a counted thing in braces, `{parts}/h`, of dimension 1.
Factors: BIPM SI Brochure, 9th edition (2019); NIST SP 811 (2008), appendix B.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from operators.errors import TwinflowError
from operators.types import F64

BASE = ("m", "kg", "s", "A", "K", "mol", "cd", "rad", "bit")
Dimension: TypeAlias = tuple[int, ...]


class UnitError(TwinflowError):
    """A unit text that means nothing here, or two units of different kinds.

    >>> str(UnitError(text="furlong", detail="unknown symbol 'furlong'"))
    "unit 'furlong': unknown symbol 'furlong'; write it from symbols such as m, s, kg, degC, or as {furlong}"
    """

    def __init__(self, *, text: str, detail: str, fix: str = "") -> None:
        self.text, self.detail = text, detail
        bare = "".join(c for c in text if c.isalnum() or c in " _-")[:30].strip() or "thing"
        self.fix = fix or f"write it from symbols such as m, s, kg, degC, or as {{{bare}}}"
        super().__init__(f"unit {text[:60]!r}: {detail}; {self.fix}")


@dataclass(frozen=True, slots=True)
class Unit:
    """`SI value = value * factor + offset`, both exact; `dimension` are the powers of BASE.

    >>> unit("km/h").factor, unit("degC").offset
    (Fraction(5, 18), Fraction(5463, 20))
    """

    text: str
    factor: Fraction
    offset: Fraction
    dimension: Dimension

    def si(self) -> str:
        """The unit its SI values are in, e.g. "kg*m/s^2"; "1" for a plain number.

        >>> unit("bar").si()
        'kg/m/s^2'
        """
        up = [f"{b}^{p}" if p > 1 else b for b, p in zip(BASE, self.dimension, strict=True) if p > 0]
        down = [f"/{b}^{-p}" if p < -1 else f"/{b}" for b, p in zip(BASE, self.dimension, strict=True) if p < 0]
        return ("*".join(up) or "1") + "".join(down)


def _powers(**powers: int) -> Dimension:
    return tuple(powers.get(b, 0) for b in BASE)


_NONE = _powers()
_PI = Fraction(math.pi)
_LB = Fraction(45359237, 100_000_000)
_GRAVITY = Fraction(980665, 100_000)
_FOOT = Fraction(3048, 10_000)
_FORCE, _PRESSURE = _powers(kg=1, m=1, s=-2), _powers(kg=1, m=-1, s=-2)
_ENERGY, _POWER = _powers(kg=1, m=2, s=-2), _powers(kg=1, m=2, s=-3)
_VOLT, _OHM = _powers(kg=1, m=2, s=-3, A=-1), _powers(kg=1, m=2, s=-3, A=-2)
_LENGTH, _MASS, _TIME, _ANGLE, _TEMP = _powers(m=1), _powers(kg=1), _powers(s=1), _powers(rad=1), _powers(K=1)
_SPEED, _VOLUME = _powers(m=1, s=-1), _powers(m=3)

_PREFIXABLE: dict[str, tuple[Fraction, Dimension]] = {
    name: (Fraction(factor), dimension)
    for name, factor, dimension in (
        ("m", 1, _LENGTH), ("s", 1, _TIME), ("A", 1, _powers(A=1)), ("K", 1, _TEMP), ("mol", 1, _powers(mol=1)),
        ("cd", 1, _powers(cd=1)), ("rad", 1, _ANGLE), ("gram", Fraction(1, 1000), _MASS), ("t", 1000, _MASS),
        ("Hz", 1, _powers(s=-1)), ("N", 1, _FORCE), ("Pa", 1, _PRESSURE), ("bar", 100_000, _PRESSURE),
        ("J", 1, _ENERGY), ("W", 1, _POWER), ("Wh", 3600, _ENERGY), ("eV", Fraction("1.602176634e-19"), _ENERGY),
        ("C", 1, _powers(A=1, s=1)), ("Ah", 3600, _powers(A=1, s=1)), ("V", 1, _VOLT), ("VA", 1, _POWER),
        ("var", 1, _POWER), ("ohm", 1, _OHM), ("S", 1, tuple(-p for p in _OHM)),
        ("F", 1, _powers(kg=-1, m=-2, s=4, A=2)), ("H", 1, _powers(kg=1, m=2, s=-2, A=-2)),
        ("Wb", 1, _powers(kg=1, m=2, s=-2, A=-1)), ("T", 1, _powers(kg=1, s=-2, A=-1)), ("lm", 1, _powers(cd=1)),
        ("lx", 1, _powers(cd=1, m=-2)), ("l", Fraction(1, 1000), _VOLUME), ("L", Fraction(1, 1000), _VOLUME),
        ("bit", 1, _powers(bit=1)), ("B", 8, _powers(bit=1)),
    )
}  # fmt: skip
_PREFIX = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "d": -1, "c": -2, "m": -3,
    "u": -6, "n": -9, "p": -12, "f": -15,
}  # fmt: skip
_FIXED: dict[str, tuple[Fraction, Dimension]] = {
    name: (Fraction(factor), dimension)
    for name, factor, dimension in (
        ("kg", 1, _MASS), ("g", _GRAVITY, _powers(m=1, s=-2)), ("lb", _LB, _MASS), ("oz", _LB / 16, _MASS),
        ("min", 60, _TIME), ("h", 3600, _TIME), ("d", 86_400, _TIME),
        ("in", _FOOT / 12, _LENGTH), ("ft", _FOOT, _LENGTH), ("yd", _FOOT * 3, _LENGTH), ("mi", _FOOT * 5280, _LENGTH),
        ("nmi", 1852, _LENGTH), ("kmh", Fraction(5, 18), _SPEED), ("kph", Fraction(5, 18), _SPEED),
        ("mph", _FOOT * 5280 / 3600, _SPEED), ("kn", Fraction(1852, 3600), _SPEED),
        ("ha", 10_000, _powers(m=2)), ("gal", Fraction("0.003785411784"), _VOLUME),
        ("deg", _PI / 180, _ANGLE), ("arcmin", _PI / 10_800, _ANGLE), ("arcsec", _PI / 648_000, _ANGLE),
        ("rev", _PI * 2, _ANGLE), ("rpm", _PI / 30, _powers(rad=1, s=-1)),
        ("degC", 1, _TEMP), ("degF", Fraction(5, 9), _TEMP),
        ("atm", 101_325, _PRESSURE), ("psi", _LB * _GRAVITY / (_FOOT / 12) ** 2, _PRESSURE),
        ("mmHg", Fraction("133.322387415"), _PRESSURE), ("kgf", _GRAVITY, _FORCE), ("lbf", _LB * _GRAVITY, _FORCE),
        ("hp", _LB * _GRAVITY * _FOOT * 550, _POWER), ("cal", Fraction("4.184"), _ENERGY),
        ("kcal", 4184, _ENERGY), ("BTU", Fraction("1055.05585262"), _ENERGY), ("Nm", 1, _ENERGY),
        ("gauss", Fraction(1, 10_000), _powers(kg=1, s=-2, A=-1)), ("%", Fraction(1, 100), _NONE),
        ("%RH", Fraction(1, 100), _NONE), ("percent", Fraction(1, 100), _NONE), ("permille", Fraction(1, 1000), _NONE),
        ("ppm", Fraction(1, 10**6), _NONE), ("ppb", Fraction(1, 10**9), _NONE), ("count", 1, _NONE), ("bool", 1, _NONE),
        ("ratio", 1, _NONE), ("dB", 1, _NONE),
    )
}  # fmt: skip
_OFFSET = {"degC": Fraction("273.15"), "degF": Fraction("459.67") * Fraction(5, 9)}
_ALIAS = {
    "°C": "degC",
    "℃": "degC",
    "°F": "degF",
    "°": "deg",
    "Ω": "ohm",
    "Ohm": "ohm",
    "℉": "degF",
    "sec": "s",
    "hr": "h",
}
_TOKEN = re.compile(
    r"\s*(?:(?P<op>\*|/|·|\.|\(|\))|(?P<note>\{[^{}]*\})|(?P<symbol>[A-Za-zΩµμ°℃℉%]+)|(?P<number>[0-9]+(?:\.[0-9]+)?))"
)
_POWER_OF = re.compile(r"(?:\^|\*\*)?(-?[1-9])(?![0-9]|\.[0-9])|([⁻]?[¹²³⁴⁵⁶⁷⁸⁹])")
_RAISED = str.maketrans("⁻¹²³⁴⁵⁶⁷⁸⁹", "-123456789")
MAX_TEXT = 60
MAX_BITS = 1000


@lru_cache(maxsize=4096)
def unit(text: str) -> Unit:
    """What the text means.

    Raises:
        UnitError: a symbol is unknown or the text is no product of powers.

    >>> unit("l/min").si(), unit("rpm").si()
    ('m^3/s', 'rad/s')
    """
    if len(text) > MAX_TEXT:
        raise UnitError(text=text, detail=f"is over {MAX_TEXT} characters long")
    bare = _ALIAS.get(text.strip(), text.strip())
    if bare in _OFFSET:
        factor, dimension = _FIXED[bare]
        return Unit(text, factor, _OFFSET[bare], dimension)
    factor, dimension = _Parser(text).whole()
    return Unit(text, factor, Fraction(0), dimension)


def same_kind(a: str, b: str) -> bool:
    """Whether values in one unit can be converted to the other.

    >>> same_kind("degF", "degC"), same_kind("bar", "degC")
    (True, False)
    """
    return unit(a).dimension == unit(b).dimension


def conversion(source: str, target: str) -> tuple[float, float]:
    """Factor and offset that turn a value in `source` into one in `target`: `value * factor + offset`.

    Raises:
        UnitError: they measure different things.

    >>> conversion("degF", "degC")[0], conversion("g", "m/s^2")
    (0.5555555555555556, (9.80665, 0.0))
    """
    a, b = unit(source), unit(target)
    if a.dimension != b.dimension:
        detail = f"measures {a.si()}, but {target!r} measures {b.si()}"
        raise UnitError(text=source, detail=detail, fix="give the signal a unit of the same kind")
    return float(a.factor / b.factor), float((a.offset - b.offset) / b.factor)


def convert(values: F64, source: str, target: str) -> F64:
    """The values, float64[n] in `source`, in `target`.

    >>> convert(np.array([32.0, 212.0]), "degF", "degC").round(9).tolist()
    [0.0, 100.0]
    """
    factor, offset = conversion(source, target)
    return np.asarray(values, dtype=np.float64) * factor + offset


class _Parser:
    """Recursive descent over `factor ((* | / | nothing) factor)*`; a division takes the next factor only."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> tuple[Fraction, Dimension]:
        if not self.text.strip():
            raise UnitError(text=self.text, detail="is empty", fix="write 1 for a plain number")
        result = self.product()
        if self.text[self.at :].strip():
            raise UnitError(text=self.text, detail=f"cannot be read from {self.text[self.at :].strip()!r} on")
        if max(result[0].numerator, result[0].denominator).bit_length() > MAX_BITS:
            raise UnitError(text=self.text, detail="is out of all proportion")
        return result

    def product(self) -> tuple[Fraction, Dimension]:
        factor, dimension = self.factor()
        while match := _TOKEN.match(self.text, self.at):
            op = match["op"] or ""
            if op == ")":
                break
            if op not in ("", "("):
                self.at = match.end()
            right, powers = self.factor()
            sign = -1 if op == "/" else 1
            factor *= right**sign
            dimension = tuple(p + sign * q for p, q in zip(dimension, powers, strict=True))
        return factor, dimension

    def factor(self) -> tuple[Fraction, Dimension]:
        match = _TOKEN.match(self.text, self.at)
        if match is None or (match["op"] and match["op"] != "("):
            raise UnitError(text=self.text, detail="a symbol is missing")
        self.at = match.end()
        if match["op"]:
            factor, dimension = self.product()
            close = _TOKEN.match(self.text, self.at)
            if close is None or close["op"] != ")":
                raise UnitError(text=self.text, detail="a bracket stays open", fix="close it")
            self.at = close.end()
        elif match["number"]:
            factor, dimension = Fraction(match["number"]), _NONE
            if factor == 0:
                raise UnitError(text=self.text, detail="is zero")
            return factor, dimension
        else:
            factor, dimension = (Fraction(1), _NONE) if match["note"] else self.symbol(match["symbol"])
        return self.raised(factor, dimension)

    def raised(self, factor: Fraction, dimension: Dimension) -> tuple[Fraction, Dimension]:
        match = _POWER_OF.match(self.text, self.at)
        if match is None:
            return factor, dimension
        self.at = match.end()
        power = int(match[1] or match[2].translate(_RAISED))
        if abs(power) * max(factor.numerator, factor.denominator).bit_length() > MAX_BITS:
            raise UnitError(text=self.text, detail="is out of all proportion")
        return factor**power, tuple(p * power for p in dimension)

    def symbol(self, name: str) -> tuple[Fraction, Dimension]:
        name = _ALIAS.get(name, name).replace("µ", "u").replace("μ", "u")
        for table in (_PREFIXABLE, _FIXED):
            if name in table:
                return table[name]
        for cut in (2, 1):
            prefix, rest = name[:cut], name[cut:]
            rest = _ALIAS.get(rest, rest)
            if prefix in _PREFIX and rest in _PREFIXABLE:
                factor, dimension = _PREFIXABLE[rest]
                return factor * Fraction(10) ** _PREFIX[prefix], dimension
        raise UnitError(text=self.text, detail=f"unknown symbol {name!r}")
