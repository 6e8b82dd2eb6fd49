"""`ratchet init`: look at a CSV file, decide what it does not say, and write a use case.

look → what the file says · decide → what follows from it and from the answers · periods → which days are for what
· template, test_template, params → the text · write → onto disk, all of it or nothing · command → the command line
"""
