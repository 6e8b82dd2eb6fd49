"""The prediction log.

schema → the columns · batch_log → the half written by steps · online_log → the half written while serving
online_lines → its lines · answered_keys → a caller's repeated request gets the same answer
log → reads both halves · dropped → what is older than it is kept for · trace → a prediction's origin
scored_time → of which time batches scored the requests, and of which they did not
"""
