"""Parts of a job file that several jobs share: ``include: [shared/limits.yaml]``.

What the including file says counts: mappings are joined key by key, everything else replaces what was included. So an
environment is a small file that includes the job and says what is different there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tasks.job.problems import JobError, Problem

INCLUDE = "include"


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a node was written in."""

    path: Path
    text: str
    node: Node = field(repr=False)
    """Kept, so that no other node is ever given its id."""


@dataclass(slots=True)
class Included:
    """The root of a job with everything that it includes."""

    root: MappingNode
    origins: dict[int, Origin] = field(default_factory=dict)
    """By the id of each node that stands in another file than the job's own."""


Compose = Callable[[Path], tuple[MappingNode, str]]
"""Reads one file: its root and its text. Raises: JobError."""


def with_included(path: Path, root: MappingNode, compose: Compose) -> Included:
    """A root with the files that it includes, and those that they include. Raises: JobError with the line."""
    found = Included(root)
    found.root = _joined(path, root, compose, (path.resolve(),), found)
    return found


def _joined(path: Path, root: MappingNode, compose: Compose, above: tuple[Path, ...], found: Included) -> MappingNode:
    own = MappingNode(
        root.tag, [pair for pair in root.value if not _is_include(pair[0])], root.start_mark, root.end_mark
    )
    _same_origin(found, own, root)
    base: MappingNode | None = None
    for item in _named(path, root):
        file = path.parent / Path(item.value).expanduser()
        if file.resolve() in above:
            raise _wrong(path, item, f"{item.value} includes this file, which includes it.")
        if not file.is_file():
            raise _wrong(
                path, item, f"There is no file {item.value} to include; the path counts from this file's folder."
            )
        part, text = compose(file)
        for node in _below(part, set()):
            found.origins[id(node)] = Origin(file, text, node)
        part = _joined(file, part, compose, (*above, file.resolve()), found)
        base = part if base is None else _over(base, part, found)
    return own if base is None else _over(base, own, found)


def _named(path: Path, root: MappingNode) -> Iterator[ScalarNode]:
    """What the key ``include`` lists."""
    for key, value in root.value:
        if not _is_include(key):
            continue
        items = value.value if isinstance(value, SequenceNode) else [value]
        for item in items:
            if not isinstance(item, ScalarNode) or not item.value:
                raise _wrong(path, value, "Name the files to include: include: [shared/limits.yaml].")
            yield item


def _over(base: MappingNode, own: MappingNode, found: Included) -> MappingNode:
    """Both, the second one where they say different things."""
    known = {key.value: value for key, value in base.value if isinstance(key, ScalarNode)}
    said = {key.value for key, _ in own.value if isinstance(key, ScalarNode)}
    pairs = [(key, value) for key, value in base.value if not isinstance(key, ScalarNode) or key.value not in said]
    for key, value in own.value:
        before = known.get(key.value) if isinstance(key, ScalarNode) else None
        if isinstance(before, MappingNode) and isinstance(value, MappingNode):
            value = _over(before, value, found)
        pairs.append((key, value))
    made = MappingNode(own.tag, pairs, own.start_mark, own.end_mark)
    _same_origin(found, made, own)
    return made


def _same_origin(found: Included, made: Node, of: Node) -> None:
    if (origin := found.origins.get(id(of))) is not None:
        found.origins[id(made)] = replace(origin, node=made)


def _is_include(key: Node) -> bool:
    return isinstance(key, ScalarNode) and key.value == INCLUDE


def _below(node: Node, seen: set[int]) -> Iterator[Node]:
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    match node:
        case MappingNode():
            for key, value in node.value:
                yield from _below(key, seen)
                yield from _below(value, seen)
        case SequenceNode():
            for item in node.value:
                yield from _below(item, seen)


def _wrong(path: Path, node: Node, message: str) -> JobError:
    mark = node.start_mark
    return JobError([Problem(path, mark.line + 1, mark.column + 1, INCLUDE, message)])
