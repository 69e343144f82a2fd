"""Rows of one dataclass as a Parquet file whose schema is the dataclass's own."""

import dataclasses
import io
import types
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq

ARROW: Mapping[type, pa.DataType] = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), float: pa.float64()}


def parquet_of(row: type, rows: Sequence[Any]) -> bytes:
    """The file's bytes; with no rows too it has every column."""
    schema = pa.schema([(field.name, _arrow(field.type)) for field in dataclasses.fields(row)])
    columns = [pa.array([getattr(entry, field.name) for entry in rows], field.type) for field in schema]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), buffer)
    return buffer.getvalue()


def _arrow(annotation: Any) -> pa.DataType:
    if isinstance(annotation, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not types.NoneType)
    return ARROW[annotation]
