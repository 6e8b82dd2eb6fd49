"""What is trained.

model → a model with its contract · model_files → the files of its directory · baseline → means of groups ·
groups → what groups say of a label · metrics → what predictions are measured by
"""
