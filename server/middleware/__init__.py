"""ASGI middleware: request ids and safe headers, origins, API keys, admission control, body limits."""
