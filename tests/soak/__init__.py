"""Soak: a steady load with random faults for as long as wanted, and whether anything grows meanwhile.

``python -m tests.soak --minutes N`` measures; the tests here are those of its judgement.
"""
