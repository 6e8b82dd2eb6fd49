"""Which code a result depends on.

git → the commit that is checked out, or another one · code_digest → the modules and libraries that a step depends on
"""
