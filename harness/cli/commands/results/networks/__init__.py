"""Commands on records that call their networks again."""
