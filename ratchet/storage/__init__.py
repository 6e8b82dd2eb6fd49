"""How rows are stored: whole files, partitioned Parquet, contents by date, Arrow and NumPy, DuckDB, SQLite by path."""
