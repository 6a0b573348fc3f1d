"""Wire times are exact, and the compiled reading of them is the plain one."""

from datetime import UTC, datetime
from decimal import Decimal, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.compiled import kernel
from operators.frames import Frames
from operators.times import MAX_TIME_NS, nanos_of_digits, nanos_of_number, nanos_of_text
from tests.operators.wire_cases import decoder, message


def by_decimal(text: str) -> int | None:
    with localcontext() as context:
        context.prec = 200
        value = Decimal(text)
        unit = 10**9 if value < 10**11 else 10**6 if value < 10**14 else 10**3 if value < 10**17 else 1
        nanos = int(value * unit) if value > 0 else 0
    return nanos if 0 < nanos < MAX_TIME_NS else None


compiled_nanos = kernel(nanos_of_digits)

NUMBERS = st.one_of(
    st.integers(0, 10**19).map(str),
    st.tuples(st.integers(0, 10**13), st.text("0123456789", min_size=1, max_size=20)).map(lambda p: f"{p[0]}.{p[1]}"),
    st.tuples(st.integers(1, 99999), st.integers(-5, 20)).map(lambda p: f"{p[0]}e{p[1]}"),
    st.sampled_from(["99999999999", "99999999999.9", "100000000000", "99999999999999", "100000000000000", "0", "0.0"]),
    st.sampled_from(["9223372036854775808", "9214646400", "9214646399.999999999", "99999999999999999", "1e17", "-1"]),
)


@given(text=NUMBERS)
@settings(max_examples=60, deadline=None)
def test_a_number_is_the_decimal_it_spells(text: str) -> None:
    assert nanos_of_number(text) == by_decimal(text)


@given(whole=st.integers(0, 2**63 - 1), fraction=st.integers(0, 10**9 - 1))
@settings(max_examples=60, deadline=None)
def test_compiled_and_plain_times_are_equal(whole: int, fraction: int) -> None:
    assert (compiled_nanos(whole, fraction, 9) or None) == nanos_of_number(f"{whole}.{fraction:09d}")


@given(text=NUMBERS)
@settings(max_examples=60, deadline=None)
def test_decode_reads_the_same_time_on_both_paths(text: str) -> None:
    decode = decoder()
    line = message(sensor="temp", v=1, ts=0).replace(b'"ts": 0', b'"ts": ' + text.encode())
    decode.push(Frames.of([message(sensor="temp", v=1, ts=1)]))
    fast, judged = decode.push(Frames.of([line])), decode.push(Frames.of([line], headers={0: {"kind": b""}}))
    nanos = nanos_of_number(text)
    expected = [] if nanos is None else [nanos]
    assert fast.batches[0].ts.tolist() == judged.batches[0].ts.tolist() == expected
    assert fast.dead.reason == judged.dead.reason == ([] if expected else ["bad_time"])


@given(moment=st.datetimes(datetime(1970, 1, 2), datetime(2261, 1, 1)), hours=st.integers(-12, 14))
@settings(max_examples=60, deadline=None)
def test_rfc_3339_with_a_zone_is_read(moment: datetime, hours: int) -> None:
    seconds = int((moment.replace(microsecond=0, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    expected = (seconds - 3600 * hours) * 10**9 + moment.microsecond * 1000
    text = (
        moment.strftime("%Y-%m-%dT%H:%M:%S")
        + f".{moment.microsecond:06d}{'-' if hours < 0 else '+'}{abs(hours):02d}:00"
    )
    assert nanos_of_text(text) == (expected if expected > 0 else None)


@pytest.mark.parametrize(
    "text", ["2023-11-14T22:13:20", "2023-02-30T00:00:00Z", "2023-01-01T00:00:60Z", "1969-12-31T23:59:59Z", "now", ""]
)
def test_a_text_that_is_no_time_with_zone_is_refused(text: str) -> None:
    assert nanos_of_text(text) is None
