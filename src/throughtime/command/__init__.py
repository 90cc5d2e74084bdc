"""The command line: words become options, options become calls of typed functions."""
