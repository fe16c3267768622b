"""What the suites share: real servers, hosts and tokens to test with."""
