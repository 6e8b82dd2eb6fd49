"""Models compiled for serving: the same numbers, bit for bit, without scikit-learn and pandas.

compiled_model → a compiled model in a directory · trees → an encoder and LightGBM's trees · groups → the baseline
native_booster → LightGBM's C interface · golden → the rows on which a compiled model must agree with the model itself
"""
