"""What the agent is started with: options, a configuration file, and what they amount to."""
