"""Sources of data.

batches → the active source (the door), and its batches as Arrow · watermark → what a source holds, written for DVC
newest → up to when it is complete · csv_source → a source of CSV files · csv_lines → their rows, counted by bytes
csv_parsing → text as values · unreadable → values that a column cannot hold
"""
