"""HDF5 files that can be trusted: atomic publication, checksummed arrays, tables with a schema."""

from svdflow.errors import DamagedError, ItemError, NotOursError, StoreError, WriteError
from svdflow.store.arrays import create_array, write_array
from svdflow.store.error_rows import error_row, writing
from svdflow.store.files import (
    open_published,
    publish,
    publish_directory,
    publish_file,
    publish_files,
    publish_text,
    verify,
)
from svdflow.store.ownership import refuse_foreign
from svdflow.store.reading import StoredArray, StoredFile, StoredGroup, read_array, read_rows
from svdflow.store.shards import (
    Factors,
    Item,
    Observation,
    add_item,
    add_observation,
    discard_item,
    factors,
    items,
    slug_of,
)
from svdflow.store.tables import read_table, write_table

__all__ = [
    "DamagedError",
    "Factors",
    "Item",
    "ItemError",
    "NotOursError",
    "Observation",
    "StoreError",
    "StoredArray",
    "StoredFile",
    "StoredGroup",
    "WriteError",
    "add_item",
    "add_observation",
    "create_array",
    "discard_item",
    "error_row",
    "factors",
    "items",
    "open_published",
    "publish",
    "publish_directory",
    "publish_file",
    "publish_files",
    "publish_text",
    "read_array",
    "read_rows",
    "read_table",
    "refuse_foreign",
    "slug_of",
    "verify",
    "write_array",
    "write_table",
    "writing",
]
