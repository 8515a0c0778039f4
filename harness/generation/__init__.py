"""Generated images: what is asked for, and the networks whose features judge them."""
