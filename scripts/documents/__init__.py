"""What the scripts that write `docs/` share. Rules stand in `domain/`; nothing here decides."""
