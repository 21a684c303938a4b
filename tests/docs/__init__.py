"""The generators of what the docs take from the code, and the tests of what they say by hand."""
