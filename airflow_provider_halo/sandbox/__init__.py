"""A local HaloAgents: the API as its documentation states it, written without looking at the client's constants."""
