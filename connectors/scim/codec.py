"""How each mapped attribute path is read, typed and written, worked out once per path; pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from connectors.contract import Attribute, Form, Kind
from connectors.scim.paths import Path, Resource, column_reader, extension_urns, nest, parse_path
from connectors.scim.schema import CORE, STANDARD, EntrySchema


class Storage(StrEnum):
    """How a column of a frame keeps its values."""

    TEXT = "text"
    BOOLEAN = "boolean"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Slot:
    """One attribute path with everything that reading and writing it needs."""

    path: Path
    info: Attribute | None
    """None for an attribute that neither the service nor the standard knows."""
    reference: bool
    """True where the value is an id that the wire wraps in ``{"value": ...}``."""
    read: Callable[[Sequence[Resource]], list[Any]]
    """The path's values in a page of entries."""

    @property
    def storage(self) -> Storage:
        """Numbers and dates are kept as text; an unknown attribute is text until it proves to be something else."""
        if self.info is None:
            return Storage.TEXT
        if self.info.several or self.info.form is Form.STRUCTURE:
            return Storage.OBJECT
        return Storage.BOOLEAN if self.info.form is Form.BOOLEAN else Storage.TEXT

    @property
    def case_exact(self) -> bool:
        """True where two values that differ in case only are two values."""
        return self.info is not None and self.info.exact


class Codec:
    """Reads and writes the entries of one kind. Holds no entry, only what it has worked out about paths."""

    def __init__(self, schema: EntrySchema) -> None:
        self.schema = schema
        self._slots: dict[str, Slot] = {}

    @property
    def kind(self) -> Kind:
        return self.schema.kind

    def slot(self, text: str) -> Slot:
        """Everything about one path. Raises: PathError."""
        slot = self._slots.get(text)
        if slot is None:
            path = parse_path(text)
            standard = STANDARD[self.kind]
            info = self.schema.info_of(path) or standard.info_of(path)
            reference = self.schema.is_reference(path) or standard.is_reference(path)
            slot = self._slots[text] = Slot(path, info, reference, column_reader(path, wrapped=reference))
        return slot

    def is_plural(self, path: Path) -> bool:
        """True for an attribute that holds a list."""
        info = self.slot(path.container).info
        return info is not None and info.several

    def entry(self, attributes: Mapping[str, Any]) -> Resource:
        """The entry to create: named schemas, no nulls. Raises: PathError.

        Source: RFC 7643 section 3.1 (schemas names every extension whose attributes are present).
        """
        placed = [
            (slot.path, self.to_wire(slot, value))
            for slot, value in ((self.slot(text), value) for text, value in attributes.items())
            if value is not None
        ]
        schemas = [CORE[self.kind], *extension_urns(path for path, _ in placed)]
        return {"schemas": schemas, **nest(placed)}

    def to_wire(self, slot: Slot, value: Any) -> Any:
        """A value as JSON has it: booleans and numbers as such even when a mapping gave text, references wrapped."""
        if slot.reference and not isinstance(value, Mapping):
            return {"value": value}
        return as_json_type(slot.info, value) if slot.info is not None else value

    def values(self, entry: Resource, paths: Iterable[str]) -> dict[str, Any]:
        """The entry's values at these paths, as a snapshot would hold them. Raises: PathError."""
        found = {}
        for text in paths:
            slot = self.slot(text)
            value = slot.read([entry])[0]
            found[text] = as_json_type(slot.info, value) if slot.info is not None else value
        return found

    def differing(self, entry: Resource, attributes: Mapping[str, Any]) -> list[str]:
        """Paths whose value in the entry is not the given one, compared as the service compares. Raises: PathError."""
        held = self.values(entry, attributes)
        return [text for text, value in attributes.items() if not self._equal(self.slot(text), held[text], value)]

    def equal(self, text: str, left: Any, right: Any) -> bool:
        """True when the service would take both for the same value. Raises: PathError."""
        return self._equal(self.slot(text), left, right)

    def _equal(self, slot: Slot, left: Any, right: Any) -> bool:
        if slot.info is not None:
            left, right = as_json_type(slot.info, left), as_json_type(slot.info, right)
        return bool(_comparable(left, exact=slot.case_exact) == _comparable(right, exact=slot.case_exact))


def as_json_type(info: Attribute, value: Any) -> Any:
    """A text as the boolean or number that the schema wants, where it is one; anything else as it is."""
    if not isinstance(value, str):
        return value
    match info.form:
        case Form.BOOLEAN:
            return {"true": True, "false": False}.get(value.strip().lower(), value)
        case Form.INTEGER | Form.DECIMAL:
            try:
                return int(value) if info.form is Form.INTEGER else float(value)
            except ValueError:
                return value
        case _:
            return value


def _comparable(value: Any, *, exact: bool) -> Any:
    """Something that is equal for values which a service does not tell apart: null and empty, order of a list."""
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return tuple(sorted((key.lower(), repr(_comparable(held, exact=exact))) for key, held in value.items()))
    if isinstance(value, list | tuple):
        return tuple(sorted(repr(_comparable(held, exact=exact)) for held in value))
    text = str(value)
    return text if exact else text.casefold()
