"""Where rows are kept: partitioned Parquet with atomic writes, contents by date, and SQLite by path."""
