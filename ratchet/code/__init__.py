"""Which code a result follows from.

git → the commit that is checked out, or another one · code_digest → the modules and libraries that a step follows from
"""
