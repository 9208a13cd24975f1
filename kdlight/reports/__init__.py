"""Typed objects made into documents for people: described once, written as a page, as Markdown and as PDF."""
