"""What the feature, training and inference pipelines share; it imports none of them."""
