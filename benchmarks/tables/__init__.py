"""The README's tables: a file each, from the results file of the same name to lines of Markdown."""
