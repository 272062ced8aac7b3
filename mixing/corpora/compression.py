"""Compressed files as streams of bytes: the compression is told by the first bytes, not by the name.

gzip goes through Arrow, whose reader notices a file that is cut short; so do `bz2`, `lzma` and the reader below.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
from pathlib import Path
from typing import IO

import zstandard

from mixing.errors import InputError

SUFFIXES = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".lzma": "xz", ".zst": "zstd", ".zstd": "zstd"}
"""Compressions that are read, by suffix."""
MAGIC = ((b"\x1f\x8b", "gzip"), (b"BZh", "bz2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"))
SKIPPABLE = range(0x184D2A50, 0x184D2A60)
"""First word of a zstd frame without content, as parallel compressors write them."""
UNREAD_SUFFIXES = {
    suffix: f"compression {suffix} is not read; recompress as .zst or .gz"
    for suffix in (".lz4", ".br", ".snappy", ".sz", ".z", ".lzo", ".lz")
} | dict.fromkeys(
    (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar"), "an archive, which is not read; unpack it"
)
UNREAD_MAGIC = (
    (b"\x04\x22\x4d\x18", UNREAD_SUFFIXES[".lz4"]),
    (b"PK\x03\x04", UNREAD_SUFFIXES[".zip"]),
    (b"7z\xbc\xaf\x27\x1c", UNREAD_SUFFIXES[".7z"]),
    (b"Rar!", UNREAD_SUFFIXES[".rar"]),
)
LARGEST_WINDOW = 1 << 31
"""Window of `zstd --long=31`, the largest there is. Memory is used as far as text fills it."""
STEP = 1 << 11
"""Compressed bytes that are expanded at once, so that a file that shrank well does not fill the memory."""


def compression_of(head: bytes) -> str | None:
    """The compression of a file that begins with `head`; None for a plain one."""
    for magic, name in MAGIC:
        if head.startswith(magic):
            return name
    return "zstd" if len(head) >= 4 and struct.unpack("<I", head[:4])[0] in SKIPPABLE else None


def why_unread(path: Path, head: bytes) -> str | None:
    """Why a file of a compression or archive that is not read is left out; None for any other."""
    if path.suffix.lower() in UNREAD_SUFFIXES:
        return UNREAD_SUFFIXES[path.suffix.lower()]
    if path.suffix.lower() in SUFFIXES and path.with_suffix("").suffix.lower() == ".tar":
        return UNREAD_SUFFIXES[".tar"]
    if head[257:262] == b"ustar":
        return UNREAD_SUFFIXES[".tar"]
    return next((reason for magic, reason in UNREAD_MAGIC if head.startswith(magic)), None)


def decompressed(raw: IO[bytes], compression: str | None) -> IO[bytes]:
    """The content of `raw`. Reading raises OSError for a file that is damaged or cut short."""
    if compression is None:
        return raw
    if compression == "gzip":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "gzip"), 1 << 18)
    if compression == "bz2":
        return io.BufferedReader(_Checked(bz2.BZ2File(raw)), 1 << 18)
    if compression == "xz":
        return io.BufferedReader(_Checked(lzma.LZMAFile(raw)), 1 << 18)
    return io.BufferedReader(_Zstandard(raw), 1 << 18)


class _Checked(io.RawIOBase):
    """A reader of the standard library whose errors of content are OSErrors, as those of the others."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            part = self._stream.read(len(buffer))
        except (EOFError, lzma.LZMAError, ValueError) as error:
            raise OSError(str(error)) from error
        buffer[: len(part)] = part
        return len(part)


class _Zstandard(io.RawIOBase):
    """All frames of a zstd file, of windows of any length."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            compressed = self._compressed or self._raw.read(STEP)
            self._compressed = b""
            if not compressed:
                if self._frame is not None:
                    raise OSError("a frame has no end")
                return 0
            self._expand(compressed)
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _expand(self, compressed: bytes) -> None:
        try:
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            self._ready = memoryview(self._frame.decompress(compressed))
        except MemoryError as error:
            raise _no_memory() from error
        except zstandard.ZstdError as error:
            if "emory" in str(error) or "llocation" in str(error):
                raise _no_memory() from error
            raise OSError(str(error)) from error
        if self._frame.eof:
            self._compressed = self._frame.unused_data
            self._frame = None


def _no_memory() -> InputError:
    return InputError(
        "compressed with a long window (zstd --long), for which this machine has no memory",
        "Recompress it: zstd -d --long=31 < FILE | zstd > NEW",
    )
