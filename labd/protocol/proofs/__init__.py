"""What is proven of a whole protocol, beyond the shape of its parts: values, loops, windows, material, outcomes."""
