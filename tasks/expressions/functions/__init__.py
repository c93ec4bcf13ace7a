"""The functions of the language, one module per subject. Importing this package enters all of them in the table."""

from tasks.expressions.functions import chance, conditions, conversions, dates, lists, presence, replacing, roles, texts

__all__ = ["chance", "conditions", "conversions", "dates", "lists", "presence", "replacing", "roles", "texts"]
