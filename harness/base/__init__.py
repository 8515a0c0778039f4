"""What everything else stands on: errors, files, random numbers. Imports the standard library, numpy and torch."""
