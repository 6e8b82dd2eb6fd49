"""The gate: may a model serve?

gate → the door · evidence → the input of the decision · checks → bounds and verdict · plausibility → is it too good to be true?
reasons → signed by a person who accepts it · record → all of that, signed · signing → Ed25519 over canonical JSON
"""
