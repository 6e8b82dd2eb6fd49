"""`ratchet init`: look at a CSV file, decide what it does not say, and write a use case.

look → what the file says · answers → what only a person can say · decide, decide_time → what follows from both · too_good →
whether that gives the label away · plan → the use case, with its periods and baseline and with the worth of its columns ·
template, template_request, template_of_test, params → the text, and its formatting · notes → what a person should know of it ·
write → onto disk, all of it or nothing · command → the command line
"""
