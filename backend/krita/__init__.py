"""Putting the docker into this user's Krita, and into a ZIP for Krita's own importer. Nothing here runs inside Krita."""
