"""What tasks are measured by; one file each."""
