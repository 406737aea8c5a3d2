"""What the add-ons of all hosts are packed with: wheels, the contract, archives, and how the backend is started."""
