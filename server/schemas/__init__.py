"""The shapes of requests and answers, as /openapi.json states them. Shapes only: no behaviour, no storage."""
