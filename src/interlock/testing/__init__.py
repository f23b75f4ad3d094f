"""For the tests of one's own commands: a coordinator, hosts and a clock in the test's hand."""
