"""What the HTML pages show: panels, charts and formatted values."""
