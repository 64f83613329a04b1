"""The model of a spec in PyMC, evaluated at draws, and simulated."""
