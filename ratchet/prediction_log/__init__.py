"""The prediction log: log → what was asked and answered · trace → the way back from a prediction."""
