"""The wire between coordinator and hosts: JSON-RPC 2.0 over STOMP 1.2 over TCP with mutual TLS."""
