"""Runs as other programs take them; each module needs the package that it is named after."""
