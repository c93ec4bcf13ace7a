"""Reads YAML and remembers where everything stood: plain values on one side, line and column of each on the other."""

import os
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tasks.job.including import Origin, with_included
from tasks.job.problems import JobError, Problem
from tasks.job.yaml_limits import DEPTH, compose_shallow, refuse_repeated

Key: TypeAlias = tuple[str | int, ...]
"""Where something lies in a document: keys of mappings and numbers of list items, from the outside in."""

_TAG = "tag:yaml.org,2002:"
_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")
_OTHER_BASE = re.compile(r"0[xob][0-9a-fA-F]+")
_CALL = re.compile(r"[A-Za-z]\w*\(")
"""How an expression begins that may be repeated in a message: no credential looks like that."""
_MERGE = ("<<<<<<<", "=======", ">>>>>>>")
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)


def spelled(key: Key) -> str:
    """A key as people write it: ``users.matching[0].target``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).removeprefix(".")


@dataclass(frozen=True, slots=True)
class Pair:
    """One key of a mapping."""

    key: Node
    value: Node


@dataclass(slots=True)
class Document:
    """One YAML file."""

    path: Path
    text: str
    root: MappingNode
    data: dict[str, Any] = field(default_factory=dict)
    """The values; dates stay text."""
    problems: list[Problem] = field(default_factory=list)
    """What YAML allows but nobody means: a key twice, a number that loses its zeros."""
    origins: dict[int, Origin] = field(default_factory=dict)
    """Files of the nodes that were included, by the node's id."""
    _values: dict[int, Any] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _known: dict[int, dict[str, Pair]] = field(default_factory=dict)

    def problem(self, key: Key, message: str, *, node: Node | None = None, caret: str = "") -> Problem:
        """A problem with what lies under ``key``, or at ``node`` where that is more exact."""
        node = node or self.node(key)
        if node.start_mark.index == node.end_mark.index:  # nothing is written there, so the key is what can be seen
            node = self.key_node(key)
        mark = node.start_mark
        return Problem(self.file_of(node), mark.line + 1, mark.column + 1, spelled(key), message, caret)

    def file_of(self, node: Node) -> Path:
        """The file that a node stands in: this one, or one that it includes."""
        return self.origins[id(node)].path if id(node) in self.origins else self.path

    def _text_of(self, node: Node) -> str:
        return self.origins[id(node)].text if id(node) in self.origins else self.text

    def node(self, key: Key) -> Node:
        """The value under ``key``, or the nearest thing around it that there is."""
        node: Node = self.root
        for part in key:
            inner = self._inside(node, part)
            if inner is None:
                break
            node = inner.value
        return node

    def key_node(self, key: Key) -> Node:
        """The key itself (not its value), or the nearest key around it."""
        node: Node = self.root
        found: Node = self.root
        for part in key:
            inner = self._inside(node, part)
            if inner is None:
                break
            node, found = inner.value, inner.key
        return found

    def has(self, key: Key) -> bool:
        """Whether something is written under exactly this key."""
        node: Node = self.root
        for part in key:
            inner = self._inside(node, part)
            if inner is None:
                return False
            node = inner.value
        return True

    def value(self, key: Key) -> Any:
        """The plain value under ``key``; None where there is nothing."""
        return self._values.get(id(self.node(key))) if self.has(key) else None

    def texts(self, key: Key) -> Iterator[tuple[Key, str]]:
        """All text below ``key`` with its own key, in the order of the file."""
        match self.value(key):
            case str() as text:
                yield key, text
            case dict() as section:
                for name in section:
                    yield from self.texts((*key, name))
            case list() as items:
                for number in range(len(items)):
                    yield from self.texts((*key, number))

    def place_in_text(self, key: Key, line: int, column: int) -> tuple[int, int]:
        """Line and column in the file of a character of the text under ``key``, each from 1.

        Looks through quotes, escapes and folded lines; where that fails it is the place where the text begins.
        """
        node = self.node(key)
        if not isinstance(node, ScalarNode):
            return node.start_mark.line + 1, node.start_mark.column + 1
        offset = sum(len(text) + 1 for text in node.value.split("\n")[: line - 1]) + column - 1
        text = self._text_of(node)
        index = _index_in_source(text, node, offset)
        before = text[:index]
        return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1

    def cut_off(self, key: Key) -> str | None:
        """What YAML took for a comment behind the unquoted text under ``key``."""
        node = self.node(key)
        if not isinstance(node, ScalarNode) or node.style is not None:
            return None
        rest = self._text_of(node)[node.end_mark.index :].split("\n", 1)[0]
        return rest if rest.lstrip().startswith("#") else None

    def _inside(self, node: Node, part: str | int) -> Pair | None:
        if isinstance(node, SequenceNode):
            if isinstance(part, int) and part < len(node.value):
                return Pair(node.value[part], node.value[part])
            return None
        if isinstance(node, MappingNode):
            return self._pairs(node).get(str(part))
        return None

    def _pairs(self, node: MappingNode) -> dict[str, Pair]:
        """Keys of a mapping; those that ``<<`` brings never win, and of a key that is there twice the first wins."""
        if id(node) in self._known:
            return self._known[id(node)]
        pairs = self._known[id(node)] = {}  # known before it is complete: a mapping may merge itself
        for key, value in node.value:
            if _is_merge(key):
                merged = value.value if isinstance(value, SequenceNode) else [value]
                for section in merged:
                    if isinstance(section, MappingNode):
                        pairs.update({name: pair for name, pair in self._pairs(section).items() if name not in pairs})
        own: dict[str, Pair] = {}
        for key, value in node.value:
            if isinstance(key, ScalarNode) and not _is_merge(key):
                own.setdefault(str(key.value), Pair(key, value))
        pairs.update(own)
        return pairs

    def build(self, node: Node, key: Key) -> Any:
        """The plain value of a node; notes problems on the way."""
        if id(node) in self._values:
            return self._values[id(node)]
        if id(node) in self._open:
            self.problems.append(self.problem(key, "This refers to itself.", node=node))
            return None
        self._open.add(id(node))
        match node:
            case MappingNode():
                value: Any = self._build_mapping(node, key)
            case SequenceNode():
                value = [self.build(item, (*key, number)) for number, item in enumerate(node.value)]
            case _:
                value = self._build_scalar(node, key)
        self._open.discard(id(node))
        self._values[id(node)] = value
        return value

    def _build_mapping(self, node: MappingNode, key: Key) -> dict[str, Any]:
        first: dict[str, Node] = {}
        for name, _ in node.value:
            if not isinstance(name, ScalarNode):
                message = 'A key must be text; one with square brackets in front goes in quotes: "[mail]".'
                self.problems.append(self.problem(key, message, node=name))
            elif name.value in first and not _is_merge(name):
                earlier = first[name.value].start_mark.line + 1
                message = f"This key is there twice, the first time in line {earlier}: keep one."
                self.problems.append(self.problem((*key, name.value), message, node=name))
            else:
                first[name.value] = name
        return {name: self.build(pair.value, (*key, name)) for name, pair in self._pairs(node).items()}

    def _build_scalar(self, node: Node, key: Key) -> Any:
        text = str(node.value)
        match str(node.tag).removeprefix(_TAG):
            case "str" | "timestamp":
                return text
            case "null":
                return None
            case "bool":
                return text.casefold() == "true"
            case "int":
                return self._whole_number(node, text, key)
            case "float":
                return self._number(node, text, key)
            case tag:
                message = f"YAML takes {tag} for a type: put text that begins with ! in quotes."
                self.problems.append(self.problem(key, message, node=node))
                return None

    def _whole_number(self, node: Node, text: str, key: Key) -> int:
        digits = text.replace("_", "").lstrip("+")
        number = int(digits, 0) if _OTHER_BASE.fullmatch(digits) else int(digits)
        if not _WHOLE_NUMBER.fullmatch(text) and not _OTHER_BASE.fullmatch(text):
            self._loses_digits(node, text, number, key)
        return number

    def _number(self, node: Node, text: str, key: Key) -> float:
        number = float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.replace("_", ""), flags=re.IGNORECASE))
        if "attributes" in key and str(number) != text:  # a value for people, where 1.10 is not 1.1
            self._loses_digits(node, text, number, key)
        return number

    def _loses_digits(self, node: Node, text: str, number: float, key: Key) -> None:
        secretive = key[:1] in (("source",), ("target",))
        seen = "this as a number" if secretive else f"{text} as the number {number}"
        better = "." if secretive else f': "{text}".'
        message = f"YAML reads {seen}: put it in quotes to keep it as it is{better}"
        self.problems.append(self.problem(key, message, node=node))


def _is_merge(key: Node) -> bool:
    return bool(key.tag == f"{_TAG}merge")


def read_yaml(path: Path) -> Document:
    """The file's document, with what it includes.

    Raises: JobError when a file cannot be read, is not YAML, or is not a mapping.
    """
    text = _read_text(path)
    root = _composed(path, text, os.environ.get(DEPTH))
    included = with_included(path, root, _compose)
    document = Document(path, text, included.root, origins=included.origins)
    document.data = document.build(included.root, ())
    return document


def _compose(path: Path) -> tuple[MappingNode, str]:
    """The root of one file, and its text. Raises: JobError."""
    text = _read_text(path)
    return _root_of(path, text), text


@lru_cache(maxsize=8)
def _composed(path: Path, text: str, depth: str | None) -> MappingNode:
    """As :func:`_root_of`; a run reads its job file several times, and a text that it has read already it knows."""
    del depth  # which composing asks for
    return _root_of(path, text)


def _read_text(path: Path) -> str:
    """Raises: JobError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _whole(path, f"This is not UTF-8 text (byte {error.start}): save it as UTF-8.") from None
    except OSError as error:
        raise _whole(path, f"The file cannot be read: {error.strerror}.") from error


def _root_of(path: Path, text: str) -> MappingNode:
    """Raises: JobError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            root = compose_shallow(path, text)
            refuse_repeated(path, root)
    except MarkedYAMLError as error:
        problem = _syntax_problem(path, text, error)
    except YAMLError as error:
        problem = Problem(path, None, None, "", f"This is not YAML: {str(error).splitlines()[0]}.")
    else:
        if root is None:
            raise _whole(path, "The file is empty: a job has at least name, source, target and users.")
        if not isinstance(root, MappingNode):
            raise _whole(path, "A job file holds keys at its top level: name, source, target, users.")
        return root
    raise JobError([problem])  # outside of the handler: YAML's own error quotes the file, and with it what is secret


def _whole(path: Path, message: str) -> JobError:
    return JobError([Problem(path, None, None, "", message)])


def _syntax_problem(path: Path, text: str, error: MarkedYAMLError) -> Problem:
    """What to do about a text that is not YAML."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem(path, None, None, "", f"This is not YAML: {error.problem}.")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    opened = error.context_mark
    message = _syntax_message(str(error.problem), str(error.context), line, opened.line + 1 if opened else None)
    for place in (mark, opened):
        if place is not None and place.line < len(lines) and lines[place.line].startswith(_MERGE):
            message = "A merge was not finished here: decide which lines stay, and take its marks out."
    if opened is not None and "quoted scalar" in str(error.context):
        mark = opened
    return Problem(path, mark.line + 1, mark.column + 1, "", message)


def odd_blank(line: str) -> str:
    """What to do about a blank that is none for YAML, as word processors and web pages have them; empty without one."""
    found = next((mark for mark in line if mark != " " and unicodedata.category(mark) == "Zs"), None)
    return (
        f"This line holds a {unicodedata.name(found).lower()} (U+{ord(found):04X}): type a blank instead."
        if found
        else ""
    )


def _syntax_message(problem: str, context: str, line: str, opened: int | None) -> str:
    value = line.split(": ", 1)[-1].strip()
    if odd := odd_blank(line[: len(line) - len(line.lstrip())]):
        return odd
    if "'\\t'" in problem:
        return "YAML takes no tab here: indent with blanks."
    if "mapping values are not allowed" in problem:
        if _CALL.match(value):
            return f"YAML takes a colon in this text for a key: put the expression in single quotes: {quoted(value)}"
        return "YAML takes a colon in this text for a key: put the text in quotes, or correct the indentation."
    if "while scanning a quoted scalar" in context:
        return "These quotes are not closed."
    if "while scanning an anchor" in context or "while scanning a tag" in context or "undefined alias" in problem:
        return "Text that begins with &, !, or * has a meaning in YAML: put it in quotes."
    if found := re.search(r"found character '(.)' that cannot start", problem):
        return f"Text that begins with {found[1]} must be in quotes."
    if "flow" in context:
        if "${" in line:
            return 'Inside { } and [ ] a reference must be in quotes: "${env:NAME}".'
        if "(" in line:
            return "Inside { } and [ ] an expression must be in single quotes: {expression: 'ToLower([mail])'}."
        return f"The bracket opened in line {opened} is not closed, or a comma is missing before this."
    if "single document" in context:
        return "A file holds one job: remove the line --- and what follows it."
    if "could not find expected ':'" in problem or "block" in context:
        return "This line is no `key: value` and fits none above: check indentation, quotes and colon."
    return f"This is not YAML: {problem}."


def quoted(text: str) -> str:
    """A text in YAML's single quotes."""
    return "'" + text.replace("'", "''") + "'"


def _index_in_source(source: str, node: ScalarNode, offset: int) -> int:
    """Where in the file a character of a text stands; the beginning of the text where it cannot be told."""
    start, end = node.start_mark.index, node.end_mark.index
    position = start
    if node.style in ("'", '"'):
        position += 1
    elif node.style in ("|", ">"):
        position = source.index("\n", start) + 1
    for character in node.value[:offset]:
        after = _after(source, position, character, node.style)
        if after is None or after > end:
            return int(start)
        position = after
    upcoming = node.value[offset : offset + 1]
    if upcoming and not upcoming.isspace():
        position = _skip_blanks(source, position)
    return int(position)


def _after(source: str, position: int, character: str, style: str | None) -> int | None:
    """The place behind one character of a text, None where the source says something else."""
    if not character.isspace():
        position = _skip_blanks(source, position)
    if style == '"' and source[position] == "\\":
        escape = _ESCAPE.match(source, position)
        return escape.end() if escape else None
    if style == "'" and source.startswith("''", position):
        return position + 2
    if source[position] == character and character != "\n":
        folded = character == " " and source[position:].lstrip(" ")[:1] == "\n"
        return _skip_blanks(source, position) if folded else position + 1
    if character.isspace() and source[position].isspace():
        return _skip_blanks(source, position) if style in (None, "'", '"', ">") else position + 1
    return None


def _skip_blanks(source: str, position: int) -> int:
    while position < len(source) and source[position].isspace():
        position += 1
    return position
