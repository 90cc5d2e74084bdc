"""What looks into a trained model."""
