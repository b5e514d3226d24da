"""Rules of other tools ⇄ policies, each with a report of what could not be carried over."""
