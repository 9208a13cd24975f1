"""When to believe a pair, and when not: eligibility, prediction sets, triage, the ledger of what the student forgot."""
