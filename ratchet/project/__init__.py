"""Running steps in a checkout.

run → the argument of a step: settings, use case, clock, paths · steps → the one list of steps · step_reports → their reports
headlines → a line about each report
as_of → how far the data go · advance → moves that · backfill → runs as of many instants
locks → one run of a pipeline at a time · inputs → files that people edit · dvc → recording data
restore → data that were recorded earlier · data_status → how far the data go, and what is due
registered_files → the files of other systems with which a model was trained
gc → the removal of what is older than it is kept for · needed_models, kept_data, cache, leftovers → what that is
"""
