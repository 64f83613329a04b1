"""Data on their way in: files to frames, frames to panels, and what a panel must be to fit a spec."""
