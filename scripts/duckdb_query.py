#!/usr/bin/env python3
"""One SQL statement on a DuckDB file, by the library that is under .deps/: the rows, their cells separated by "|".

    scripts/duckdb_query.py FILE SQL
"""
import ctypes
import pathlib
import sys

LIBRARY = pathlib.Path(__file__).resolve().parent.parent / ".deps" / "duckdb" / "lib" / "libduckdb.so"


class Result(ctypes.Structure):
    _fields_ = [("deprecated", ctypes.c_uint64 * 3), ("columns", ctypes.c_void_p), ("error", ctypes.c_char_p),
                ("internal", ctypes.c_void_p)]


def query(path, sql):
    library = ctypes.CDLL(str(LIBRARY))
    library.duckdb_result_error.restype = ctypes.c_char_p
    library.duckdb_value_varchar.restype = ctypes.c_char_p
    library.duckdb_row_count.restype = library.duckdb_column_count.restype = ctypes.c_uint64
    database, connection, result = ctypes.c_void_p(), ctypes.c_void_p(), Result()
    if library.duckdb_open(path.encode(), ctypes.byref(database)) or library.duckdb_connect(database, ctypes.byref(connection)):
        sys.exit(f"{path} cannot be opened as a DuckDB file")
    if library.duckdb_query(connection, sql.encode(), ctypes.byref(result)):
        sys.exit(library.duckdb_result_error(ctypes.byref(result)).decode())

    def cell(column, row):
        text = library.duckdb_value_varchar(ctypes.byref(result), ctypes.c_uint64(column), ctypes.c_uint64(row))
        return "NULL" if text is None else text.decode()

    columns = library.duckdb_column_count(ctypes.byref(result))
    rows = [[cell(column, row) for column in range(columns)] for row in range(library.duckdb_row_count(ctypes.byref(result)))]
    library.duckdb_destroy_result(ctypes.byref(result))
    library.duckdb_disconnect(ctypes.byref(connection))
    library.duckdb_close(ctypes.byref(database))
    return rows


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    for cells in query(sys.argv[1], sys.argv[2]):
        print("|".join(cells))
