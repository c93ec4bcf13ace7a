"""Files that entries are read from: where they are, how they are packed and encoded.

Whatever the encoding, text arrives as UTF-8 without a byte order mark, with the line ends it came with, so line numbers
are those of the file. A file that was cut off gives what is whole of it and says so.
"""

import codecs
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pyarrow as pa
from fsspec.core import url_to_fs

from connectors.errors import CredentialsError, FatalError, SettingsError, UnreachableError
from connectors.file_section import FileSection, Format, format_of_name, unknown_format
from connectors.rows import nearest
from connectors.settings import reveal

_PIECE = 4 << 20
"""Bytes read at once."""
_PACKED = 64 << 10
"""Packed bytes that are unpacked at once."""
_GZIP = b"\x1f\x8b"


# Files


@dataclass(slots=True)
class Text:
    """What could be read of a text file."""

    data: bytearray
    """UTF-8 without a byte order mark."""
    cut: str | None = None
    """Why the file ends too early, as a clause; its last, incomplete line is not part of ``data``."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of the job."""

    section: FileSection
    folder: Path
    """The job file's folder."""

    @property
    def label(self) -> str:
        """What people call it: as the job says, without credentials."""
        return re.sub(r"//[^/@]*@", "//", self.section.path).partition("?")[0]

    @property
    def format(self) -> Format:
        """How it is laid out. Raises: SettingsError when nobody says."""
        found = self.section.format or format_of_name(reveal(self.section.path, folder=self.folder))
        if found is None:
            raise SettingsError(f"Cannot read it: {unknown_format(self.label)}.")
        return found

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which it is not the file that the job means, as far as its section says."""
        return tuple(getattr(self.section, "required", ()))

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes as they lie there.

        Raises: SettingsError for a file that is not there, with the nearest that is; CredentialsError;
        UnreachableError.
        """
        address = reveal(self.section.path, folder=self.folder)
        remote = "://" in address or "::" in address
        try:
            system, path = url_to_fs(address if remote else str(self.folder / Path(address).expanduser()))
            stream = system.open(path, "rb")
        except FatalError:
            raise
        except FileNotFoundError:
            raise SettingsError(f"The file {self.label} does not exist. {_hint(system, path)}".rstrip()) from None
        except IsADirectoryError:
            raise SettingsError(f"{self.label} is a folder; name the file in it.") from None
        except PermissionError as error:
            recovery = CredentialsError if remote else SettingsError
            raise recovery(f"The file {self.label} cannot be read: {error.strerror or 'permission denied'}.") from None
        except ImportError as error:
            raise SettingsError(f"{self.label} needs a package that is not installed: {error}.") from error
        except ValueError as error:
            raise SettingsError(f"{self.label} is not an address that can be read: {error}.") from error
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnreachableError(f"The file {self.label} cannot be opened: {reason}.") from error
        with stream:
            try:
                yield stream
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise UnreachableError(f"Reading {self.label} failed half-way: {reason}.") from error

    def refuse_large(self, size: int) -> None:
        """Passes when what is unpacked of the file may be so large. Raises: SettingsError."""
        if size > self.section.max_unpacked_mb << 20:
            raise SettingsError(
                f"The file {self.label} holds more than {self.section.max_unpacked_mb:,} MB once it is unpacked: "
                "nothing more of it was read. If it is meant to be so large, raise max_unpacked_mb."
            )

    def text(self, *, limit: int | None = None) -> Text:
        """The file as UTF-8; at least the first ``limit`` bytes where a limit is given.

        Raises: SettingsError for an empty file and for a wrong encoding, naming byte and line; as ``open``.
        """
        text = Text(bytearray())
        unpacked = _Unpacked(self.label)
        decoder: _Decoder | None = None
        with self.open() as stream:
            for piece in unpacked.pieces(stream):
                if decoder is None:
                    refuse_binary(piece, self.label)
                    decoder = _Decoder(self.section.encoding, piece, self.label)
                text.data += decoder.decode(piece, before=text.data)
                self.refuse_large(len(text.data))
                if limit is not None and len(text.data) >= limit:
                    del text.data[text.data.rfind(b"\n") + 1 or limit :]
                    break
        if limit is None or len(text.data) < limit:
            _drop_end_mark(text.data)
        text.cut = unpacked.cut or (decoder.finish(text.data) if decoder is not None else None)
        if text.cut:
            del text.data[text.data.rfind(b"\n") + 1 :]
        if decoder is None or (text.cut and not text.data):
            why = f" ({text.cut})" if text.cut else ""
            raise SettingsError(f"The file {self.label} is empty{why}. Was the export finished?")
        return text


_BINARY = (
    (b"PK\x03\x04", "a workbook (or another ZIP file)", "If it is the export, set format: xlsx."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "If it is the export, set format: xlsx."),
    (b"%PDF", "a PDF file", "Export the table itself."),
    (b"PAR1", "a Parquet file", "If it is the export, set format: parquet."),
)


def refuse_binary(first: bytes, label: str) -> None:
    """Passes for text. Raises: SettingsError for what is another kind of file, with what to do."""
    for mark, what, remedy in _BINARY:
        if first.startswith(mark):
            raise SettingsError(f"{label} is {what}, not text. {remedy}")


def _drop_end_mark(data: bytearray) -> None:
    """Takes away what some systems write behind the last line: Ctrl-Z, zero bytes."""
    end = len(data)
    while end and data[end - 1] in b"\x1a\0":
        end -= 1
    del data[end:]


def _hint(system: Any, path: str) -> str:
    """The nearest name in the same folder, or that there is no such folder."""
    parent = str(PurePosixPath(path).parent)
    try:
        names = [PurePosixPath(found).name for found in system.ls(parent, detail=False)]
    except OSError:
        return f"There is no folder {PurePosixPath(parent).name} either."
    except ValueError:  # the folder of an address on the web may be none
        return ""
    near = nearest(PurePosixPath(path).name, names)
    return f"Did you mean {near}?" if near else ""


@dataclass(slots=True)
class _Unpacked:
    """The bytes of a file, unzipped where it is gzipped, whatever its name."""

    label: str
    cut: str | None = None

    def pieces(self, stream: IO[bytes]) -> Iterator[bytes]:
        raw = iter(lambda: stream.read(_PIECE), b"")
        first = next(raw, b"")
        if first.startswith(_GZIP):
            # Small pieces, for each may become a thousand times as much before anybody can look at it.
            packed = (piece[at : at + _PACKED] for piece in chain([first], raw) for at in range(0, len(piece), _PACKED))
            yield from self._unzipped(next(packed), packed)
        elif first:
            yield first
            yield from raw

    def _unzipped(self, piece: bytes, raw: Iterator[bytes]) -> Iterator[bytes]:
        """Members one after the other; what comes before a damaged place is given."""
        member = zlib.decompressobj(31)
        while True:
            before = member.copy()
            try:
                if out := member.decompress(piece):
                    yield out
            except zlib.error:
                yield _before_the_damage(before, piece)
                self.cut = "its gzip data are damaged"
                return
            rest = member.unused_data.lstrip(b"\0") if member.eof else b""
            piece = rest or next(raw, b"")
            if not piece:
                if not member.eof:
                    self.cut = "its gzip data end too early"
                return
            if member.eof:
                member = zlib.decompressobj(31)


def _before_the_damage(member: Any, piece: bytes) -> bytes:
    """What can be unpacked of a piece that fails as a whole: zlib drops everything the failing call had unpacked."""
    out = bytearray()
    for size in (4096, 1):
        while piece:
            before = member.copy()
            try:
                out += member.decompress(piece[:size])
            except zlib.error:
                member = before
                break
            piece = piece[size:]
    return bytes(out)


class _Decoder:
    """Turns pieces of a file into UTF-8, and says where they are not in the encoding."""

    def __init__(self, declared: str | None, first: bytes, label: str) -> None:
        self._label = label
        self._declared = declared is not None
        self.encoding = declared or _encoding_of(first)
        if not declared and self.encoding == "utf-8" and first[:64].count(0) * 3 > len(first[:64]):
            raise SettingsError(
                f"The file {label} contains zero bytes: it is not UTF-8 text. "
                "If it is UTF-16 without a byte order mark, set encoding: utf-16-le."
            )
        self._decoder = codecs.getincrementaldecoder(self.encoding)("strict")
        # UTF-8 is passed on as it is and proved as a whole by `finish`, which is many times faster.
        self._utf8 = codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")
        self._mark = len(codecs.BOM_UTF8) if self._utf8 and first.startswith(codecs.BOM_UTF8) else 0
        self._position = 0

    def decode(self, piece: bytes, *, before: bytearray) -> bytes:
        """The next piece as UTF-8; ``before`` is what came out so far. Raises: SettingsError."""
        begins = self._position == 0
        if self._utf8:
            self._position += len(piece)
            return piece[self._mark :] if begins and self._mark else piece
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(piece)
        except UnicodeDecodeError as error:
            start = error.start - len(state[0])
            self._decoder.setstate(state)
            self._decoder.errors = "ignore"
            good = self._decoder.decode(piece[: max(start, 0)])
            line = before.count(b"\n") + good.count("\n") + 1
            raise self._wrong(error.object[error.start], self._position + start, line) from None
        self._position += len(piece)
        return (text[1:] if begins and text.startswith("\ufeff") else text).encode()

    def finish(self, data: bytearray) -> str | None:
        """Why the file ends too early, where it ends in the middle of a character. Raises: SettingsError."""
        if self._utf8:
            if _is_utf8(data):
                return None
            try:
                complete = codecs.utf_8_decode(data, "strict", False)[1] == len(data)
            except UnicodeDecodeError as error:
                line = data.count(b"\n", 0, error.start) + 1
                raise self._wrong(data[error.start], self._mark + error.start, line) from None
        else:
            complete = not self._decoder.getstate()[0]
        return None if complete else "it ends in the middle of a character"

    def _wrong(self, byte: int, position: int, line: int) -> SettingsError:
        advice = "Correct the encoding setting" if self._declared else "Set encoding, for example encoding: cp1252"
        return SettingsError(
            f"The file {self._label} is not {self.encoding.upper()}: byte 0x{byte:02X} at position {position:,} "
            f"(line {line:,}) cannot be read. {advice}, or export the file as UTF-8."
        )


def _is_utf8(data: bytearray) -> bool:
    """Whether all of it is valid, at the speed of memory."""
    offsets = pa.py_buffer(struct.pack("=qq", 0, len(data)))
    whole = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
    try:
        whole.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _encoding_of(first: bytes) -> str:
    """What the byte order mark says."""
    for mark, name in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if first.startswith(mark):
            return name
    return "utf-8"
