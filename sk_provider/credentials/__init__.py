"""What is known of credentials outside of an authenticator."""
