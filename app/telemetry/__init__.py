"""Reports of the process about itself: logs and metrics."""
