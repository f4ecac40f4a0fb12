"""Images, stacks and fields: one module a case, with NAME, TITLE, measure() and markdown(); run by images.py."""
