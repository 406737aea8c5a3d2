"""The service that hosts talk to: takes jobs, keeps them, has workers do them, and gives the results back. Knows no torch and no pixels."""
