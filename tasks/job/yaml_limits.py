"""What a YAML file may not do to its reader: nest without end, or repeat itself until the memory is full."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from tasks.job.problems import JobError, Problem

DEPTH = "PROVISOR_YAML_DEPTH"
_DEPTH = 50
_VALUES = 1_000_000
"""Values that a file may stand for once each alias is replaced by what it repeats."""


def compose_shallow(path: Path, text: str) -> Node | None:
    """The root of a YAML text in which nothing is nested deeper than 50 levels, or what ``PROVISOR_YAML_DEPTH`` says.

    Raises: JobError with the line; ruamel.yaml.error.YAMLError for what is no YAML.
    """
    most, depth = _depth(path), 0

    class Shallow(Composer):
        """Counts levels while it composes, so that the text is read once."""

        def compose_sequence_node(self, anchor: Any) -> Any:
            return self._one_deeper(super().compose_sequence_node, anchor)

        def compose_mapping_node(self, anchor: Any) -> Any:
            return self._one_deeper(super().compose_mapping_node, anchor)

        def _one_deeper(self, compose: Callable[[Any], Any], anchor: Any) -> Any:
            nonlocal depth
            depth += 1
            if depth > most:
                mark = self.parser.peek_event().start_mark
                message = f"This is nested deeper than {most} levels. If it is meant so, raise {DEPTH}."
                raise JobError([Problem(path, mark.line + 1, mark.column + 1, "", message)])
            node = compose(anchor)
            depth -= 1
            return node

    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = Shallow
    root: Node | None = yaml.compose(text)
    return root


def _depth(path: Path) -> int:
    text = os.environ.get(DEPTH) or str(_DEPTH)
    if not text.isdecimal() or not 1 <= int(text) <= 200:
        message = f"{DEPTH} is {text!r}: write a number of levels from 1 to 200."
        raise JobError([Problem(path, None, None, "", message)])
    return int(text)


def refuse_repeated(path: Path, root: Node | None) -> None:
    """Passes when aliases do not multiply: ten lists of ten aliases each stand for ten thousand million values.

    Raises: JobError.
    """
    if root is not None and _size(root, {}) > _VALUES:
        message = f"Aliases repeat so much that the file stands for more than {_VALUES:,} values."
        raise JobError([Problem(path, None, None, "", message)])


def _size(node: Node, known: dict[int, int]) -> int:
    """Values of a node, each alias counted as what it repeats."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = 1  # until it is known; of what holds itself, the loader says so
    match node:
        case MappingNode():
            size = 1 + sum(_size(key, known) + _size(value, known) for key, value in node.value)
        case SequenceNode():
            size = 1 + sum(_size(item, known) for item in node.value)
        case _:
            size = 1
    known[id(node)] = size
    return size
