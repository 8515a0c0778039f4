"""Networks of DeepAugment, which distort training images: one file per network."""
