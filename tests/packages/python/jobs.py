"""What the worker runs."""


def double(number):
    return number * 2
