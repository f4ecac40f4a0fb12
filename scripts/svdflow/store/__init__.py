"""HDF5 files that can be trusted: atomic publication, checksummed arrays, tables with a schema.

What stands here is for reading results, and for tasks of other packages; the stages of svdflow import the rest from the
modules.
"""

from svdflow.store.arrays import create_array, write_array
from svdflow.store.files import open_published, publish, publish_directory, verify
from svdflow.store.reading import StoredArray, StoredFile, StoredGroup, read_array, read_rows
from svdflow.store.shards import Factors, Item, Observation, factors, items
from svdflow.store.tables import read_table, write_table

__all__ = [
    "Factors",
    "Item",
    "Observation",
    "StoredArray",
    "StoredFile",
    "StoredGroup",
    "create_array",
    "factors",
    "items",
    "open_published",
    "publish",
    "publish_directory",
    "read_array",
    "read_rows",
    "read_table",
    "verify",
    "write_array",
    "write_table",
]
