"""The door: arguments, exit codes, rendering."""
