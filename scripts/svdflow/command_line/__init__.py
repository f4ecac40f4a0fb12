"""What `svdflow` does on the command line: a module a noun, and the parser that lists them."""
