"""Checkup: what an operator would look for by hand: in the state, and in what a node says of the cluster.

Each check is a generator of findings, one for each thing that it does not like. Pure: it is told what time it is.
"""
