"""Faults that a conversion or a runtime can have, put in on purpose, and which of parity's gates sees them.

catalogue.py says which there are, making.py writes the files some need, trials.py judges faulty answers (each of the
two in a process of its own), correct.py judges rows without a fault, table.py counts. `benchmarks/faults.py` is the
command.
"""
