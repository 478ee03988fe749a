"""What a code stands for, and whether it takes part in the decision."""
