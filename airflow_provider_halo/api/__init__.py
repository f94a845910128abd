"""The HaloAgents API: tokens, requests, answers."""
