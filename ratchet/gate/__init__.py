"""Whether a model may serve.

gate → the door · evidence → what is looked at · checks → bounds, and the verdict · plausibility → what is too good to be true
reasons → what a person answers for · record → all of that, signed · signing → Ed25519 over canonical JSON
"""
