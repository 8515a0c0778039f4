"""Metrics: pure functions of numpy arrays, without torch; every value comes with its interval and its n."""
