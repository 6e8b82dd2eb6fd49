"""What is delivered.

batches → the batches of the active source, as Arrow · csv → a source of CSV files · csv_lines → their rows, counted by bytes ·
csv_parsing → text as values · unreadable → values that a column cannot hold
"""
