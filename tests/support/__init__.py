"""What the tests share: the ordinary user, the program under test, looking for leaks."""
