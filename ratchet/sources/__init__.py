"""What is delivered.

active_source → the door · batches → the source's batches, as Arrow · csv → a source of CSV files
csv_lines → their rows, counted by bytes · csv_parsing → text as values · unreadable → values that a column cannot hold
"""
