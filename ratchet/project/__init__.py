"""A checkout at work.

run → what a step is given: settings, use case, clock, paths · steps → the one list of them · step_reports → what a step reports
locks → one run of a pipeline at a time · inputs → what people edit · dvc → recording and restoring data
"""
