"""Witnesses: slow loops and closed forms written from the papers. Nothing here imports the package under test."""
