"""What randomized smoothing shows the classifier: one short file per smoother."""
