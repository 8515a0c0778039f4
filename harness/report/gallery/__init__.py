"""Galleries: a few test images with what classifiers say of them, as files that the report embeds."""
