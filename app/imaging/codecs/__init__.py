"""Encoders and packers, a file per library."""
