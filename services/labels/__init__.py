"""Labels: annotations read, votes counted, several images of a task told apart."""
