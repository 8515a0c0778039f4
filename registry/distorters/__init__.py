"""Networks of DeepAugment."""
