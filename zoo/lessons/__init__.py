"""What the zoo teaches: its methods, the forward process, and a paper's algorithms beside the code that runs."""
