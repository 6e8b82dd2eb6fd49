"""What every room may import.

errors → every expected failure · clock → instants, periods, local time · settings → params.yaml and the environment ·
telemetry → switched off · progress → of long steps · syntax → code without what has no effect
"""
