"""The shipped policies; a package only so that every kind of installation finds the files."""
