"""The prediction log.

schema → the columns · online_log → the half written while serving · log → reads both halves · trace → a prediction's origin
"""
