"""The prediction log.

schema → what is kept of a prediction · online_log → appended while serving · log → both halves, read · trace → the way back
"""
