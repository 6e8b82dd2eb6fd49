"""`ratchet init`: read a CSV file, ask what the file does not say, and write a use case.

profile → what the file says · answers → what only a person can say · questions, time_questions → decisions from both ·
too_good → whether the inputs give the label away · plan → the use case, with its delay and baseline, by the
explained_variance of its columns · periods → its windows of time · render_use_case, render_request, render_on_demand,
render_test, params → the text, and its formatting · warnings → what a person should know about it · write → write all files
or none
"""
