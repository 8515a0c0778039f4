"""Smoothers: the images that randomized smoothing shows the classifier, one short file per smoother."""
