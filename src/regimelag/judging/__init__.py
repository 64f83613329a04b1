"""What a fit is worth: calibration by simulation, and the runs that such studies are made of."""
