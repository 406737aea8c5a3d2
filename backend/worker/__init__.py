"""The process that computes: one per device, started by the server and disposable. It leases a job, does it, and reports."""
