"""Generated images: sampled under guides, and scored."""
