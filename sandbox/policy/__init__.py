"""The law: policies, their composition, filters, and the plan that comes of them."""
