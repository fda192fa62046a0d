"""The journal's schema, one file a step; applied in order and never changed afterwards."""
