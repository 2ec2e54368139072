"""Commands of the `tapewright` command line, one file each."""
