"""Run: policy and launch together. `prepare()` decides, `execute()` runs and supervises."""
