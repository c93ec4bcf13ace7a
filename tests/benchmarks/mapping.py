"""Twelve mappings on a million entries: compiled expressions against a hand-written pandas and pyarrow script.

    python -m tests.benchmarks.mapping [entries] [--rounds N]

Both sides compute the same columns from the same frame in the same process, and the columns must be equal. Six mappings
are direct or constant, six are expressions of two or three nested functions. Printed: CPU seconds of both (the best of
the rounds, taken in turns), their ratio, and the peak memory of the process.
"""

import argparse
import resource
import sys
import time
import unicodedata
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tasks.expressions import Context, compile_expression

DOMAIN = "contoso.com"
CITIES = {"Dallas": "US-TX", "Austin": "US-TX", "Seattle": "US-WA", "London": "GB", "Łódź": "PL", "München": "DE"}

_NAMES = 'Join(".", [givenName], [surname])'
_REGIONS = ", ".join(f'"{city}", "{region}"' for city, region in CITIES.items())

MAPPINGS = {
    "externalId": "[employeeId]",
    "name.givenName": "[givenName]",
    "name.familyName": "[surname]",
    "title": "[jobTitle]",
    "addresses.locality": "[city]",
    "organization": '"Contoso"',
    "displayName": 'Join(" ", [givenName], Left([middleName], 1), [surname])',
    "userName": f'ToLower(Join("@", Replace({_NAMES}, , "[^A-Za-z0-9.]+", , "", ), "{DOMAIN}"))',
    "mailNickname": f"ToLower(NormalizeDiacritics({_NAMES}))",
    "phoneNumbers.work": 'Join("", "+", Replace([phone], , "[()\\\\s+-]+", , "", , ))',
    "region": f'ToUpper(Switch([city], "", {_REGIONS}))',
    "hireDate": 'Join("/", FormatDateTime([hireDate], , "M/d/yyyy h:mm:ss tt", "yyyy-MM-dd"), [city])',
}  # fmt: skip


def make_frame(entries: int) -> pd.DataFrame:
    """People as an HR system has them: some accents, some nulls, dates of thirty years."""
    rng = np.random.default_rng(7)
    first = np.array(
        ["John", "Mary", "Zoë", "José", "Anna", "Łukasz", "Mary Ann", "Ümit", "Peter", "Đorđe"], dtype=object
    )
    last = np.array(["Smith", "O'Brien", "Müller", "García-López", "Nguyễn", "Jones", "Kowalski", "Øre"], dtype=object)
    syllables = np.array(["ba", "ko", "ri", "mu", "ten", "sel", "dor", "vi"], dtype=object)

    def choose(pool: object, null_share: float = 0.0) -> list[object]:
        picked = np.asarray(pool, dtype=object)[rng.integers(0, len(np.asarray(pool, dtype=object)), entries)]
        picked[rng.random(entries) < null_share] = None
        return list(picked)

    tails = np.char.add(*(np.char.add(*(rng.choice(syllables.astype(str), entries) for _ in "ab")) for _ in "ab"))
    surnames = [f"{name}-{tail}" for name, tail in zip(choose(last), tails, strict=True)]
    days = pd.Timestamp("1995-01-01") + pd.to_timedelta(rng.integers(0, 11_000, entries), unit="D")
    hired = days.strftime("%-m/%-d/%Y") + " 12:00:00 AM"
    number = rng.integers(1_000_000, 9_999_999, entries)
    columns = {
        "employeeId": [f"{row:08}" for row in range(entries)],
        "givenName": choose(first, 0.01),
        "middleName": choose(["A.", "B.", "Jean"], 0.8),
        "surname": surnames,
        "jobTitle": choose(["Engineer", "Sales Manager", "Clerk"], 0.1),
        "city": choose([*CITIES, "Paris"], 0.05),
        "phone": [f"+1 (555) {text[:3]}-{text[3:]}" for text in map(str, number)],
        "hireDate": list(hired),
    }
    frame = pd.DataFrame({name: pd.Series(values, dtype="str") for name, values in columns.items()})
    return frame.set_index(pd.Index(frame["employeeId"], name="key"))


def by_expressions(frame: pd.DataFrame) -> pd.DataFrame:
    """The mapping language."""
    context = Context()
    columns = {}
    for target, text in MAPPINGS.items():
        column = compile_expression(text).column(frame, context)
        assert not column.failed
        columns[target] = column.values
    return pd.DataFrame(columns)


def by_hand(frame: pd.DataFrame) -> pd.DataFrame:
    """What a good engineer writes for exactly these twelve columns."""
    arrow = {name: pa.array(frame[name].array) for name in frame.columns}
    arrow = {name: a.combine_chunks() if isinstance(a, pa.ChunkedArray) else a for name, a in arrow.items()}
    given, surname, city = arrow["givenName"], arrow["surname"], arrow["city"]

    def join(separator: str, *parts: object) -> pa.Array:
        texts = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
        return pc.binary_join_element_wise(*texts, pa.scalar(separator, pa.large_string()), null_handling="skip")

    full_name = join(".", given, surname)
    columns = {
        "externalId": frame["employeeId"],
        "name.givenName": frame["givenName"],
        "name.familyName": frame["surname"],
        "title": frame["jobTitle"],
        "addresses.locality": frame["city"],
        "organization": pa.repeat(pa.scalar("Contoso", pa.large_string()), len(frame)),
        "displayName": join(" ", given, pc.utf8_slice_codeunits(arrow["middleName"], 0, 1), surname),
        "userName": pc.utf8_lower(join("@", pc.replace_substring_regex(full_name, "[^A-Za-z0-9.]+", ""), DOMAIN)),
        "mailNickname": pc.utf8_lower(_plain(full_name)),
        "phoneNumbers.work": join("", "+", pc.replace_substring_regex(arrow["phone"], r"[()\s+-]+", "")),
        "region": _regions(city),
        "hireDate": join("/", _dates(arrow["hireDate"]), city),
    }
    dtype = pd.StringDtype("pyarrow", na_value=np.nan)
    series = {
        name: values if isinstance(values, pd.Series)
        else pd.Series(pd.arrays.ArrowStringArray(values, dtype=dtype), index=frame.index)
        for name, values in columns.items()
    }  # fmt: skip
    return pd.DataFrame(series)


_STROKES = str.maketrans({"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ø": "oe", "Ø": "OE", "æ": "ae", "ß": "ss"})


def _plain(texts: pa.Array) -> pa.Array:
    """Without diacritics: only what is not ASCII is looked at, each distinct text once."""
    accented = pc.invert(pc.string_is_ascii(texts))
    spread = texts.filter(accented).dictionary_encode()
    bases = [
        "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c)).translate(_STROKES)
        for text in spread.dictionary.to_pylist()
    ]
    return pc.replace_with_mask(texts, accented, pa.array(bases, pa.large_string()).take(spread.indices))


def _regions(city: pa.Array) -> pa.Array:
    spread = city.dictionary_encode()
    regions = [CITIES.get(name, "").upper() for name in spread.dictionary.to_pylist()]
    return pa.array(regions, pa.large_string()).take(spread.indices).fill_null("")


def _dates(texts: pa.Array) -> pa.Array:
    spread = texts.dictionary_encode()
    parsed = pd.to_datetime(pd.Series(spread.dictionary.to_pylist()), format="%m/%d/%Y %I:%M:%S %p")
    return pa.array(parsed.dt.strftime("%Y-%m-%d"), pa.large_string()).take(spread.indices)


def timed(compute: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    """CPU seconds (user and system, all threads) and the result."""
    before = time.process_time()
    result = compute(frame)
    return time.process_time() - before, result


def main(arguments: list[str]) -> None:
    """Runs both and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entries", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", action="store_true", help="also print the CPU seconds of every mapping")
    options = parser.parse_args(arguments)
    frame = make_frame(options.entries)
    start_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ours, theirs = [], []
    for _ in range(options.rounds):
        seconds, by_hand_columns = timed(by_hand, frame)
        theirs.append(seconds)
        seconds, columns = timed(by_expressions, frame)
        ours.append(seconds)
    pd.testing.assert_frame_equal(columns, by_hand_columns)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"entries {options.entries:,}, mappings {len(MAPPINGS)}, best of {options.rounds} rounds, CPU seconds")
    print(f"expressions {min(ours):.2f}   by hand {min(theirs):.2f}   ratio {min(ours) / min(theirs):.2f}")
    print(f"first rounds: expressions {ours[0]:.2f}   by hand {theirs[0]:.2f}")
    print(f"peak memory {peak_mb:,.0f} MB ({start_mb:,.0f} MB before mapping)")
    if options.each:
        for target, text in MAPPINGS.items():
            before = time.process_time()
            compile_expression(text).column(frame, Context())
            print(f"{time.process_time() - before:6.3f}  {target}: {text[:90]}")


if __name__ == "__main__":
    main(sys.argv[1:])
