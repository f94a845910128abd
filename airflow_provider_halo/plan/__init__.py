"""The plan file: what it may say, where it is wrong, and the SQL in it."""
