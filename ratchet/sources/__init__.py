"""Sources of data.

batches → the active source (the door), and its batches as Arrow · watermark → what a source holds, written for DVC
newest → up to when the source is complete
http_source → files of web servers · downloads → their copies · partial_download → those that are not whole yet
postgres_source → rows of a database, by the day on which they were written · postgres_table → its queries
several_tables → a loader for each table
places → where a source's path leads · file_source → files, folders and patterns · file_kinds → CSV, packed CSV, Parquet
declared_table → from a delivered table to the declared schema · column_values → typed values · csv_parsing → text as values
csv_lines → rows of CSV files, counted by bytes · unreadable → values that a column cannot hold
"""
