"""Trained models.

model → a trained model · contract → its inputs and its origin · archive → its pipeline as a file
model_files → which files its directory holds · baseline → medians or rates of groups · groups → what groups explain of a label
metrics → the measures of predictions
"""
