"""HTTP: the OpenAI-compatible API, and a page to chat, rate, correct and compare."""
