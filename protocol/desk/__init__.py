"""What every add-on does around the contract: start the backend, keep files, send errands, list characters. Standard library only."""
