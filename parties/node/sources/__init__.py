"""Where an owner's tables come from: files and databases, read into Arrow.

source.py     what a table is read from (file, table, SQL), kept in the member's folder
reading.py    the source's rows as raw Arrow columns: CSV, Parquet, DuckDB, SQLite, PostgreSQL
canonical.py  raw columns to catalog types, with every declared type, bound and domain checked
inference.py  types, scales, bounds and domains of a new table, for its owner to review
database.py   the locked DuckDB in which local queries run
"""
