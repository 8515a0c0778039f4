"""Ground floor of the package: errors, files, random numbers. Imports the standard library, numpy and torch."""
