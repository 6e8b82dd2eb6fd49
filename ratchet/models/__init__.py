"""What is trained.

model → a trained model · contract → what it takes and what it was made from · archive → its pipeline as a file
model_files → which files its directory holds · baseline → means of groups · groups → what groups say of a label
metrics → what predictions are measured by
"""
