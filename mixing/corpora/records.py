"""The records of a file, whatever its format, as the texts in one of their fields."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixing.corpora.encodings import decoded, is_wide, repaired, text_stream
from mixing.corpora.fields import MISSING, field_of, fields_of, text_fields, which_field
from mixing.corpora.kinds import SNIFFED_BYTES, header_of
from mixing.errors import InputError

PARQUET_ROWS = 256
"""Rows that are in memory at once."""
JSON_CHUNK = 1 << 16
LONGEST_RECORD = 1 << 30
"""Characters of one JSON record, past which the file is taken for damaged."""


class Undecodable:
    """In place of a text that is in none of the encodings."""


@dataclass(frozen=True)
class Malformed:
    """In place of the text of a line that is no record, or of a record without text (`no_field`: without its field).

    `fault` begins with the line.
    """

    fault: str
    hint: str
    no_field: bool = False


class Unwanted:
    """In place of the text of a record that `Reading.keep` does not want."""


UNDECODABLE = Undecodable()
Text = str | None | Undecodable | Malformed
"""The text of one record; None where it is null."""
OnBytes = Callable[[int], None]
"""Called with the bytes of the file that are read so far."""


@dataclass(frozen=True)
class Reading:
    """How records are read: the field with their text, its encodings, which records, and `where` for messages.

    `keep` says by a record's fields whether it is wanted; `needs` are the fields it looks at. `inside` says that the
    records before these are not read.
    """

    where: str
    field: str
    encodings: tuple[str, ...]
    on_bytes: OnBytes
    keep: Callable[[Callable[[str], Any]], bool] | None = None
    needs: tuple[str, ...] = ()
    inside: bool = False

    def texts(self, records: Iterable[tuple[int, Any] | Undecodable | Malformed]) -> Iterator[Text]:
        """The texts of a file of JSON, out of its records and their lines.

        Raises InputError where the first record lacks the field, as all may, and where all records are malformed.
        """
        sound, first = self.inside, None
        for record in records:
            found = self._text_of(*record) if isinstance(record, tuple) else record
            if isinstance(found, Malformed):
                first = first or found
                if found.no_field and not sound:
                    raise InputError(f"{self.where}: {found.fault}", found.hint)
            elif not isinstance(found, Undecodable):
                sound = True
            if not isinstance(found, Unwanted):
                yield found
        if first is not None and not sound:
            raise InputError(f"{self.where}: {first.fault}", first.hint)

    def _text_of(self, line: int, record: Any) -> Text | Unwanted:
        if not isinstance(record, dict):
            return Malformed(
                f"line {line} is not a JSON object",
                f'Each record is an object such as {{"{self.field}": ...}}',
            )
        if self.keep is not None and not self.keep(lambda name: field_of(record, name)):
            return Unwanted()
        text = field_of(record, self.field)
        if text is MISSING:
            fault = f"line {line}: no field {self.field!r}"
            return Malformed(fault, which_field(self.field, fields_of(record)), no_field=True)
        if text is not None and not isinstance(text, str):
            fault = f"line {line}: field {self.field!r} is {type(text).__name__}, not text"
            return Malformed(fault, which_field(self.field, text_fields(record)))
        return text


def json_lines(stream: Iterable[bytes], raw: IO[bytes], reading: Reading) -> Iterator[Text]:
    """A record per line. A line that is in none of the encodings is undecodable by itself, one that is not JSON
    malformed by itself. Raises as `Reading.texts`."""

    def records() -> Iterator[tuple[int, Any] | Undecodable | Malformed]:
        for number, line in enumerate(_lines(stream, reading), 1):
            if number % 256 == 0:
                reading.on_bytes(raw.tell())
            if line is None:
                yield UNDECODABLE
                continue
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = error.msg.removesuffix(" at") if isinstance(error, json.JSONDecodeError) else error
                yield Malformed(f"line {number} is not JSON ({reason})", "Correct or remove this line")
            else:
                yield number, record

    yield from reading.texts(records())


def _lines(stream: Iterable[bytes], reading: Reading) -> Iterator[str | None]:
    if not any(is_wide(encoding) for encoding in reading.encodings):
        yield from (decoded(line, reading.encodings) for line in stream)
        return
    assert isinstance(stream, io.BufferedReader), "byte ranges are of other encodings"
    with _as_text(stream, reading) as lines:
        yield from (repaired(line, reading.encodings) if _broken(line) else line for line in lines)


def json_values(stream: IO[bytes], raw: IO[bytes], reading: Reading) -> Iterator[Text]:
    """The records of one array, or values one after the other; indented or not. Raises InputError for what is not
    JSON, after which no record can be told, and as `Reading.texts`."""
    with _as_text(stream, reading) as text:

        def records() -> Iterator[tuple[int, Any]]:
            for line, record in _values(text, reading.where):
                reading.on_bytes(raw.tell())
                yield line, record

        yield from (_whole(found, reading) for found in reading.texts(records()))


def json_records_of(text: str) -> Iterator[Any]:
    """The values in a text that holds JSON Lines or other JSON. Raises InputError at what is none."""
    yield from (record for _, record in _values(io.StringIO(text), "text"))


def _values(text: IO[str], where: str) -> Iterator[tuple[int, Any]]:
    """Each value of the top level, or of an array there, with the line it begins in."""
    decode = json.JSONDecoder().raw_decode
    buffer, at, line, chunk, ended = "", 0, 1, JSON_CHUNK, False
    while True:
        start = at
        while at < len(buffer) and buffer[at] in " \t\r\n,[]\ufeff":
            at += 1
        line += buffer.count("\n", start, at)
        if at < len(buffer):
            try:
                value, end = decode(buffer, at)
            except (ValueError, RecursionError) as error:
                if ended or not _is_cut(error, buffer) or len(buffer) - at > LONGEST_RECORD:
                    reason = error.msg if isinstance(error, json.JSONDecodeError) else error
                    number = line + (buffer.count("\n", at, getattr(error, "pos", at)))
                    raise InputError(
                        f"{where}: line {number} is not JSON ({reason})", "Correct the file, or leave it out"
                    ) from error
            else:
                yield line, value
                line += buffer.count("\n", at, end)
                at, chunk = end, JSON_CHUNK
                continue
        elif ended:
            return
        more = text.read(chunk)
        ended, chunk = not more, chunk * 2
        buffer, at = buffer[at:] + more, 0


def _is_cut(error: Exception, buffer: str) -> bool:
    """Whether a value may be whole once more of the file is read."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith(("Unterminated", "Invalid \\")) or error.pos > len(buffer) - 16


def csv_rows(stream: IO[bytes], raw: IO[bytes], reading: Reading) -> Iterator[Text]:
    """The column of a CSV file with a header; fields in quotes may hold line breaks."""
    csv.field_size_limit(LONGEST_RECORD)
    with _as_text(stream, reading) as text:
        head = text.readline()
        delimiter, columns = header_of(head, reading.field)
        if reading.field not in columns:
            raise InputError(
                f"{reading.where}: no column {reading.field!r}", which_field(reading.field, columns)
            )
        if len(set(columns)) < len(columns):
            raise InputError(f"{reading.where}: two columns have the same name", "Rename one of them")
        column, rows = columns.index(reading.field), csv.reader(text, delimiter=delimiter, strict=True)
        try:
            for row in rows:
                if not row:
                    continue
                if len(row) != len(columns):
                    raise InputError(
                        f"{reading.where}: line {rows.line_num + 1} has {len(row)} fields, and the header "
                        f"{len(columns)}",
                        "Put text with delimiters or line breaks in quotes",
                    )
                reading.on_bytes(raw.tell())
                named = dict(zip(columns, row, strict=True))
                if reading.keep is None or reading.keep(lambda name, named=named: named.get(name, MISSING)):  # type: ignore[misc]
                    yield _whole(row[column], reading)
        except csv.Error as error:
            raise InputError(
                f"{reading.where}: line {rows.line_num + 1} is not CSV ({error})",
                "Put text with quotes, delimiters or line breaks in quotes",
            ) from error


def _as_text(stream: IO[bytes], reading: Reading) -> contextlib.closing[io.TextIOWrapper]:
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    return contextlib.closing(
        text_stream(buffered, buffered.peek(SNIFFED_BYTES)[:SNIFFED_BYTES], reading.encodings)
    )


def _broken(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text)


def _whole(text: Text, reading: Reading) -> Text:
    """A text of a stream whose invalid bytes are lone surrogates: in another encoding, or undecodable."""
    if not isinstance(text, str) or not _broken(text):
        return text
    again = repaired(text, reading.encodings)
    return UNDECODABLE if again is None else again


def parquet_rows(path: Any, size: int, reading: Reading, groups: list[int] | None = None) -> Iterator[Text]:
    """The column of a Parquet file, or of some of its row groups. `size` is the file's, in bytes."""
    try:
        # A buffer makes pyarrow stream a row group instead of loading it.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as table:
            schema = table.schema_arrow
            columns = [_column_path(schema, name, reading) for name in (reading.field, *reading.needs)]
            rows, rows_read = max(table.metadata.num_rows, 1), 0
            for batch in table.iter_batches(
                PARQUET_ROWS, row_groups=groups, columns=columns, use_threads=False
            ):
                yield from _batch(batch, _text_columns(schema), reading)
                rows_read += batch.num_rows
                reading.on_bytes(size * rows_read // rows)
    except pa.ArrowException as error:
        raise _not_readable("Parquet", error, reading) from error


def arrow_rows(path: Any, size: int, reading: Reading) -> Iterator[Text]:
    """The column of an Arrow file or stream, as `datasets` and Polars write them."""
    try:
        with pa.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            opened = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
            batches: Iterable[pa.RecordBatch] = (
                (opened.get_batch(i) for i in range(opened.num_record_batches)) if is_file else opened
            )
            for name in (reading.field, *reading.needs):
                _column_path(opened.schema, name, reading)
            for batch in batches:
                for start in range(0, batch.num_rows, PARQUET_ROWS):
                    yield from _batch(batch.slice(start, PARQUET_ROWS), _text_columns(opened.schema), reading)
                if not is_file:
                    reading.on_bytes(source.tell())
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise _not_readable("Arrow", error, reading) from error


def _not_readable(kind: str, error: Exception, reading: Reading) -> InputError:
    return InputError(
        f"{reading.where} is not readable {kind} ({str(error).splitlines()[0]})", "Write this file again"
    )


def _column_path(schema: pa.Schema, name: str, reading: Reading) -> str:
    """The name as Parquet's columns have it. Raises InputError where the file has no such column."""
    if name in schema.names:
        return name
    top, *rest = name.split(".")
    kind: pa.DataType | None = schema.field(top).type if top in schema.names else None
    for step in rest:
        kind = kind.field(step).type if kind is not None and _has(kind, step) else None
    if not rest or kind is None:
        columns = [column for field in schema for column, _ in _columns(field.name, field.type)]
        raise InputError(f"{reading.where}: no column {name!r}", which_field(name, columns))
    return name


def _has(kind: pa.DataType, name: str) -> bool:
    return bool(pa.types.is_struct(kind)) and kind.get_field_index(name) >= 0


def _text_columns(schema: pa.Schema) -> list[str]:
    found = (column for field in schema for column in _columns(field.name, field.type))
    return [name for name, kind in found if _is_textual(kind)]


def _is_textual(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_binary(kind) or any(
        test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _columns(name: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """The columns that are no structs, nested ones as `a.b`, and their types."""
    if not pa.types.is_struct(kind):
        yield name, kind
        return
    for i in range(kind.num_fields):
        yield from _columns(f"{name}.{kind.field(i).name}", kind.field(i).type)


def _batch(batch: pa.RecordBatch, names: list[str], reading: Reading) -> Iterator[Text]:
    texts = _column(_array(batch, reading.field), names, reading)
    if reading.keep is None:
        yield from texts
        return
    others = {name: _array(batch, name).to_pylist() for name in reading.needs}
    for row, text in enumerate(texts):
        if reading.keep(lambda name, row=row: others[name][row]):  # type: ignore[misc]
            yield text


def _array(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch.column(name)
    top, *rest = name.split(".")
    array = batch.column(top)
    for step in rest:
        # flatten() also makes the children of a null record null.
        array = array.flatten()[array.type.get_field_index(step)]
    return array


def _column(column: pa.Array, names: list[str], reading: Reading) -> Iterator[Text]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        yield from (None for _ in range(len(column)))
        return
    if not _is_textual(column.type):
        raise InputError(
            f"{reading.where}: column {reading.field!r} is {column.type}, not text",
            which_field(reading.field, names),
        )
    encodings = reading.encodings if _is_binary(column.type) else ("utf-8",)
    # As bytes, because these files do not check that their strings are UTF-8.
    for value in column.cast(pa.large_binary()).to_pylist():
        text = None if value is None else decoded(value, encodings)
        yield UNDECODABLE if text is None and value is not None else text
