"""A .NET pattern -> the same pattern for RE2 and for the ``regex`` engine.

Translation walks the pattern once. Options that change how a pattern is *read* (x, n) or that are cheaper said outright
(m, s) are worked in; only i is handed on, as a scoped group. All capturing groups become plain numbered groups, because
.NET allows names that the engines do not; `Translation.group` knows which is which.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasks.expressions.errors import EvaluationError


class PatternError(EvaluationError):
    """A text is not a .NET regular expression; ``offset`` says where in the pattern, 0-based."""

    def __init__(self, problem: str, offset: int = 0, *, place: str | None = None) -> None:
        super().__init__(problem, place=place)
        self.offset = offset


_WORD = r"\p{L}\p{Mn}\p{Nd}\p{Pc}"
_SPACE = r"\x09\x0A\x0B\x0C\x0D\x85\p{Z}"
_CLASSES = {"d": r"\p{Nd}", "w": _WORD, "s": _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7, "e": 27}
_CATEGORIES = frozenset(
    "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cs Co Cn".split()
)
_OPTIONS = frozenset("imnsx")


@dataclass(frozen=True, slots=True)
class Translation:
    """One pattern in its engine forms."""

    linear: str
    """For RE2; only valid when `needs_backtracking` is false."""
    backtracking: str
    """For the ``regex`` module, version 1."""
    without_assertions: str
    """For RE2, every ``^``, ``$`` and ``\\b`` left out: matches the empty text if the pattern ever matches empty."""
    groups: Mapping[str, tuple[int, ...]]
    """Group name or number as .NET counts -> the engine's numbers; several where a name is used several times."""
    needs_backtracking: bool
    ends_line: bool
    """There is a ``$`` or ``\\Z`` that may also match before a final line feed."""
    has_boundary: bool

    def group(self, name: str) -> tuple[int, ...]:
        """The engine's numbers of a group; empty when there is no such group."""
        return self.groups.get(name, ())


def translate(pattern: str) -> Translation:
    """Raises: PatternError."""
    return _Translator(pattern).run()


@dataclass(slots=True)
class _Options:
    ignore_case: bool = False
    multiline: bool = False
    explicit: bool = False
    singleline: bool = False
    spaced: bool = False

    def changed(self, letters: str, *, on: bool) -> "_Options":
        names = {"i": "ignore_case", "m": "multiline", "n": "explicit", "s": "singleline", "x": "spaced"}
        values = {name: getattr(self, name) for name in names.values()}
        values.update({names[letter]: on for letter in letters})
        return _Options(**values)


@dataclass(slots=True)
class _Frame:
    """An open group: the options to go back to, and scoped option groups opened inside it."""

    options: _Options
    offset: int
    opened: list[str] = field(default_factory=list)


class _Form(StrEnum):
    LINEAR = "linear"
    BACKTRACKING = "backtracking"
    STRIPPED = "stripped"


class _Translator:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.options = _Options()
        self.frames = [_Frame(self.options, 0)]
        self.out: dict[_Form, list[str]] = {form: [] for form in _Form}
        self.names: list[str | None] = []
        """Name of each capturing group, in the engine's order; None for unnamed ones."""
        self.references: list[tuple[int, str, int, str]] = []
        """Back-references to fill in: place in the output, name, offset, form of writing."""
        self.backtracking = False
        self.ends_line = False
        self.has_boundary = False
        self.repeatable = False

    # Output

    def emit(self, text: str, *, backtracking: str | None = None, repeatable: bool = True) -> None:
        self.out[_Form.LINEAR].append(text)
        self.out[_Form.STRIPPED].append(text)
        self.out[_Form.BACKTRACKING].append(text if backtracking is None else backtracking)
        self.repeatable = repeatable

    def emit_assertion(self, linear: str, backtracking: str) -> None:
        self.out[_Form.LINEAR].append(linear)
        self.out[_Form.STRIPPED].append("(?:)")
        self.out[_Form.BACKTRACKING].append(backtracking)
        self.repeatable = True

    def fail(self, problem: str, offset: int | None = None) -> PatternError:
        return PatternError(problem, self.at if offset is None else offset)

    # Reading

    def run(self) -> Translation:
        while self.at < len(self.pattern):
            self.step()
        if len(self.frames) > 1:
            raise self.fail("a group of the pattern is never closed", self.frames[-1].offset)
        self.close_scopes(self.frames[0])
        groups = self.group_numbers()
        self.fill_references(groups)
        return Translation(
            linear="".join(self.out[_Form.LINEAR]),
            backtracking="(?-f)" + "".join(self.out[_Form.BACKTRACKING]),
            without_assertions="".join(self.out[_Form.STRIPPED]),
            groups=groups,
            needs_backtracking=self.backtracking,
            ends_line=self.ends_line,
            has_boundary=self.has_boundary,
        )

    def step(self) -> None:
        character = self.pattern[self.at]
        if self.options.spaced and (character.isspace() or character == "#"):
            end = self.pattern.find("\n", self.at) if character == "#" else self.at
            self.at = len(self.pattern) if end < 0 else end + 1
            return
        match character:
            case "\\":
                self.escape()
            case "[":
                self.character_class()
            case "(":
                self.open_group()
            case ")":
                self.close_group()
            case "|":
                self.alternate()
            case "*" | "+" | "?":
                self.quantify(character, self.at + 1)
            case "{" if (counted := self.counted_end()) is not None:
                self.quantify(self.pattern[self.at : counted], counted)
            case "^":
                self.at += 1
                start = "(?m:^)" if self.options.multiline else r"\A"
                self.emit_assertion(start, start)
            case "$":
                self.at += 1
                self.end_anchor(multiline=self.options.multiline)
            case ".":
                self.at += 1
                self.emit("(?s:.)" if self.options.singleline else r"[^\x0A]")
            case _:
                self.at += 1
                self.emit(_literal(character))

    def end_anchor(self, *, multiline: bool) -> None:
        if multiline:
            self.emit_assertion("(?m:$)", "(?m:$)")
        else:
            self.ends_line = True
            self.emit_assertion(r"\z", r"(?=\x0A?\Z)")

    def counted_end(self) -> int | None:
        """End of ``{n}``, ``{n,}`` or ``{n,m}`` at this place; any other brace is a brace."""
        end = self.pattern.find("}", self.at)
        body = self.pattern[self.at + 1 : end]
        low, comma, high = body.partition(",")
        fits = end > 0 and is_digits(low) and (not comma or not high or is_digits(high))
        return end + 1 if fits else None

    def quantify(self, quantifier: str, end: int) -> None:
        if not self.repeatable:
            raise self.fail(f"there is nothing for {quantifier} to repeat")
        low, _, high = quantifier.strip("{}").partition(",")
        if high and int(low) > int(high):
            raise self.fail(f"the repetition {quantifier} counts backwards")
        if self.pattern[end : end + 1] == "?":
            quantifier += "?"
            end += 1
        self.at = end
        self.emit(quantifier, repeatable=False)

    def alternate(self) -> None:
        self.at += 1
        scopes = self.frames[-1].opened
        self.emit(")" * len(scopes) + "|" + "".join(scopes), repeatable=False)

    # Groups

    def open_group(self) -> None:
        start = self.at
        rest = self.pattern[start:]
        if rest.startswith("(?#"):
            end = self.pattern.find(")", start)
            if end < 0:
                raise self.fail("a comment of the pattern is never closed")
            self.at = end + 1
            return
        if not rest.startswith("(?"):
            self.at += 1
            self.push(start, "(?:" if self.options.explicit else self.capture(None))
            return
        for opening in ("(?<=", "(?<!", "(?=", "(?!", "(?>"):
            if rest.startswith(opening):
                self.backtracking = True
                self.at += len(opening)
                self.push(start, opening)
                return
        if rest.startswith(("(?<", "(?'")):
            self.named_group(start)
        elif rest.startswith("(?("):
            self.conditional(start)
        else:
            self.option_group(start)

    def push(self, start: int, opening: str) -> None:
        self.frames.append(_Frame(self.options, start))
        self.emit(opening, repeatable=False)

    def capture(self, name: str | None) -> str:
        self.names.append(name)
        return "("

    def named_group(self, start: int) -> None:
        closing = ">" if self.pattern[start + 2] == "<" else "'"
        end = self.pattern.find(closing, start + 3)
        name = self.pattern[start + 3 : end] if end > 0 else ""
        if "-" in name:
            raise self.fail("balancing groups are not supported", start)
        if not name or not name.replace("_", "a").isalnum() or (name[0].isdigit() and not is_digits(name)):
            raise self.fail("a group's name is made of letters, digits and _", start)
        self.at = end + 1
        self.push(start, self.capture(name.lstrip("0") or "0" if is_digits(name) else name))

    def conditional(self, start: int) -> None:
        end = self.pattern.find(")", start)
        name = self.pattern[start + 3 : end] if end > 0 else ""
        if not name or not name.replace("_", "a").isalnum():
            raise self.fail("a conditional on a pattern is not supported; name a group", start)
        self.backtracking = True
        self.at = end + 1
        self.push(start, "")
        self.references.append((len(self.out[_Form.BACKTRACKING]) - 1, name, start, "(?({}))"))

    def option_group(self, start: int) -> None:
        end = start + 2
        while self.pattern[end : end + 1] and self.pattern[end] in "imnsx-":
            end += 1
        letters, _, off = self.pattern[start + 2 : end].partition("-")
        follower = self.pattern[end : end + 1]
        if follower not in (":", ")") or not set(letters + off) <= _OPTIONS or (follower == ")" and end == start + 2):
            raise self.fail("this kind of group is not known", start)
        options = self.options.changed(letters, on=True).changed(off, on=False)
        scope = "(?i:" if options.ignore_case else "(?-i:"
        self.at = end + 1
        if follower == ":":
            self.push(start, scope)
            self.options = options
            return
        if options.ignore_case != self.options.ignore_case:
            # An option set half-way holds to the end of its group, across alternatives.
            self.frames[-1].opened.append(scope)
            self.emit(scope, repeatable=False)
        self.options = options

    def close_scopes(self, frame: _Frame) -> None:
        self.emit(")" * len(frame.opened))

    def close_group(self) -> None:
        if len(self.frames) == 1:
            raise self.fail("a ')' of the pattern closes nothing")
        frame = self.frames.pop()
        self.close_scopes(frame)
        self.options = frame.options
        self.at += 1
        self.emit(")")

    def group_numbers(self) -> dict[str, tuple[int, ...]]:
        """As .NET counts: unnamed groups first, from left to right, then named ones; numbers used as names stand."""
        groups: dict[str, list[int]] = {"0": [0]}
        for index, name in enumerate(self.names, start=1):
            if name is not None and is_digits(name):
                groups.setdefault(name, []).append(index)
        number = 1
        named = dict.fromkeys(name for name in self.names if name is not None and not is_digits(name))
        for wanted in (None, *named):
            for index, name in enumerate(self.names, start=1):
                if name != wanted:
                    continue
                if wanted is not None and wanted in groups:
                    groups[wanted].append(index)
                    continue
                while str(number) in groups:
                    number += 1
                groups[str(number)] = [index]
                if wanted is not None:
                    groups[wanted] = groups[str(number)]
        return {name: tuple(indices) for name, indices in groups.items()}

    def fill_references(self, groups: Mapping[str, tuple[int, ...]]) -> None:
        for place, name, offset, form in self.references:
            indices = groups.get(name)
            if not indices and len(name) > 1 and set(name) <= set("01234567") and form == "reference":
                # A number that is no group is an octal character code.
                self.out[_Form.BACKTRACKING][place] = _literal(chr(int(name[:3], 8) & 0xFF)) + name[3:]
                continue
            if not indices:
                raise self.fail(f"the pattern refers to a group {name!r} that it does not have", offset)
            if form.startswith("(?("):
                self.out[_Form.BACKTRACKING][place] = f"(?({indices[-1]})"
            else:
                self.out[_Form.BACKTRACKING][place] = "(?:" + "|".join(f"\\g<{index}>" for index in indices) + ")"

    # Escapes

    def escape(self) -> None:
        start = self.at
        letter = self.pattern[start + 1 : start + 2]
        if not letter:
            raise self.fail("the pattern ends with a backslash")
        self.at += 2
        match letter:
            case "d" | "w" | "s":
                self.emit(f"[{_CLASSES[letter]}]")
            case "D" | "W" | "S":
                self.emit(f"[^{_CLASSES[letter.lower()]}]")
            case "p" | "P":
                self.at = start
                self.emit(f"[{self.property()}]")
            case "b" | "B":
                self.has_boundary = True
                self.emit_assertion(f"\\{letter}", f"\\{letter}")
            case "A":
                self.emit_assertion(r"\A", r"\A")
            case "z":
                self.emit_assertion(r"\z", r"\Z")
            case "Z":
                self.end_anchor(multiline=False)
            case "G":
                self.backtracking = True
                self.emit_assertion("", r"\G")
            case "k":
                self.named_reference(start)
            case _ if "1" <= letter <= "9":
                self.numbered_reference(start)
            case _:
                self.at = start
                self.emit(_literal(chr(self.code_point())))

    def named_reference(self, start: int) -> None:
        opening = self.pattern[self.at : self.at + 1]
        end = self.pattern.find({"<": ">", "'": "'"}.get(opening, "\0"), self.at + 1)
        if end < 0:
            raise self.fail(r"after \k comes the name of a group, as in \k<name>", start)
        self.refer(self.pattern[self.at + 1 : end], start)
        self.at = end + 1

    def numbered_reference(self, start: int) -> None:
        end = start + 1
        while is_digits(self.pattern[end : end + 1]):
            end += 1
        self.at = end
        self.refer(self.pattern[start + 1 : end], start)

    def refer(self, name: str, start: int) -> None:
        self.backtracking = True
        self.emit("")
        self.references.append((len(self.out[_Form.BACKTRACKING]) - 1, name, start, "reference"))

    def property(self) -> str:
        """``\\p{..}`` or ``\\P{..}`` at this place, for use inside a class."""
        start = self.at
        end = self.pattern.find("}", start)
        if self.pattern[start + 2 : start + 3] != "{" or end < 0:
            raise self.fail(r"after \p comes a category in braces, as in \p{Lu}")
        name, letter = self.pattern[start + 3 : end], self.pattern[start + 1]
        self.at = end + 1
        if name in _CATEGORIES:
            return f"\\{letter}{{{name}}}"
        if not name.startswith("Is") or not name[2:].replace("-", "").isalnum():
            raise self.fail(f"there is no Unicode category or block {name!r}", start)
        self.backtracking = True
        return f"\\{letter}{{Block={name[2:]}}}"

    def code_point(self) -> int:
        """The character that an escape at this place stands for."""
        start, letter = self.at, self.pattern[self.at + 1]
        self.at += 2
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter in "xu":
            return self.hexadecimal(2 if letter == "x" else 4, start)
        if letter == "c":
            control = self.pattern[self.at : self.at + 1].upper()
            if not ("@" <= control <= "_" and control):
                raise self.fail(r"after \c comes a letter", start)
            self.at += 1
            return ord(control) - 64
        if letter in "01234567":
            end = start + 1
            while end < start + 4 and self.pattern[end : end + 1] and self.pattern[end] in "01234567":
                end += 1
            self.at = end
            return int(self.pattern[start + 1 : end], 8) & 0xFF
        if letter.isalnum() or letter == "_":
            raise self.fail(f"the pattern has an escape that means nothing: \\{letter}", start)
        return ord(letter)

    def hexadecimal(self, count: int, start: int) -> int:
        digits = self.pattern[self.at : self.at + count]
        if len(digits) < count or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            raise self.fail(f"an escape needs {count} hexadecimal digits", start)
        code = int(digits, 16)
        if 0xD800 <= code < 0xE000:
            raise self.fail("half of a surrogate pair is not a character", start)
        self.at += count
        return code

    # Character classes

    def character_class(self) -> None:
        linear, backtracking = self.read_class(depth=0)
        if linear is None:
            self.backtracking = True
        self.emit(linear or "", backtracking=backtracking)

    def read_class(self, *, depth: int) -> tuple[str | None, str]:
        """``[...]`` at this place for both engines; None where RE2 has no way to say it."""
        start = self.at
        if depth > 20:
            raise self.fail("character classes are nested too deep")
        self.at += 1
        negated = self.pattern[self.at : self.at + 1] == "^"
        self.at += negated
        items: list[str] = []
        complements: set[str] = set()
        subtracted: str | None = None
        first = True
        while True:
            character = self.pattern[self.at : self.at + 1]
            if not character:
                raise self.fail("a character class of the pattern is never closed", start)
            if character == "]" and not first:
                self.at += 1
                break
            if character == "-" and self.pattern[self.at + 1 : self.at + 2] == "[" and not first:
                self.at += 1
                subtracted = self.read_class(depth=depth + 1)[1]
                if self.pattern[self.at : self.at + 1] != "]":
                    raise self.fail("a subtraction stands at the end of its class")
                self.at += 1
                break
            self.class_item(items, complements)
            first = False
        return _write_class(negated, items, complements, subtracted)

    def class_item(self, items: list[str], complements: set[str]) -> None:
        following = self.pattern[self.at + 1 : self.at + 2]
        if self.pattern[self.at] == "\\" and following and following in "dwsDWS":
            self.at += 2
            if following == "D":
                items.append(r"\P{Nd}")
            elif following in "WS":
                complements.add(following.lower())
            else:
                items.append(_CLASSES[following])
            return
        if self.pattern[self.at] == "\\" and following and following in "pP":
            items.append(self.property())
            return
        start = self.at
        low = self.class_character()
        after = self.pattern[self.at + 1 : self.at + 2]
        if self.pattern[self.at : self.at + 1] != "-" or after in ("", "]", "["):
            items.append(_escaped(low))
            return
        if after == "\\" and self.pattern[self.at + 2 : self.at + 3] in tuple("dwsDWSpP"):
            raise self.fail("a range in a character class ends with a character", self.at)
        self.at += 1
        high = self.class_character()
        if high < low:
            raise self.fail("a range in a character class runs backwards", start)
        items.append(f"{_escaped(low)}-{_escaped(high)}")

    def class_character(self) -> int:
        if self.pattern[self.at] != "\\":
            self.at += 1
            return ord(self.pattern[self.at - 1])
        if self.at + 1 >= len(self.pattern):
            raise self.fail("the pattern ends with a backslash")
        if self.pattern[self.at + 1] == "b":
            self.at += 2
            return 8
        return self.code_point()


def _write_class(
    negated: bool, items: list[str], complements: set[str], subtracted: str | None
) -> tuple[str | None, str]:
    sign = "^" if negated else ""
    whole = any(_CLASSES[letter] in items for letter in complements) or (r"\p{Nd}" in items and r"\P{Nd}" in items)
    if whole:
        # [\s\S] and its like: every character.
        linear: str | None = r"[^\x00-\x{10FFFF}]" if negated else "(?s:.)"
        backtracking = linear if negated else r"[\x00-\U0010FFFF]"
    elif complements and not items and len(complements) == 1:
        only = _CLASSES[next(iter(complements))]
        linear = backtracking = f"[{only}]" if negated else f"[^{only}]"
    else:
        nested = "".join(f"[^{_CLASSES[letter]}]" for letter in sorted(complements))
        linear = None if complements else f"[{sign}{''.join(items)}]"
        backtracking = f"[{sign}{''.join(items)}{nested}]"
    if subtracted is not None:
        return None, _for_backtracking(f"[{backtracking}--{subtracted}]")
    return linear, _for_backtracking(str(backtracking))


def _for_backtracking(text: str) -> str:
    return text.replace(r"\x{10FFFF}", r"\U0010FFFF")


def is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _literal(character: str) -> str:
    return character if character == "_" or character.isalnum() else _escaped(ord(character))


def _escaped(code: int) -> str:
    character = chr(code)
    return character if code > 0x7F or character.isalnum() else f"\\x{code:02X}"
