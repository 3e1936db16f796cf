"""All of it over HTTP: the OpenAI-compatible API, and a page to talk, rate, correct and compare."""
