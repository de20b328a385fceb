"""The API to test against: token, health, pre-check, faults, claim generator."""
