"""Commands that read records: tables, pages, checks."""
