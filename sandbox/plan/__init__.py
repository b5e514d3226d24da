"""The waist: Plan and Invocation, their bytes and their text."""
