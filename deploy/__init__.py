"""What operators run to deploy a stage and to look after it."""
