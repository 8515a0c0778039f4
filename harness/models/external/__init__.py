"""Networks that were made outside of the harness: a user's file with its architecture named, and other libraries'."""
