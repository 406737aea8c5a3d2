"""From a job to one call of a stock diffusers pipeline."""
