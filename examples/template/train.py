"""The smallest training: replace it by yours."""

print("hello from the training")
