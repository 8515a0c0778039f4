"""Published training recipes at full size, one declarative file each: see `harness.train.recipes`."""
