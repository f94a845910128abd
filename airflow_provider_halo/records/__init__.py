"""Records: checked users and companies, their values, and the bytes that leave for Halo."""
