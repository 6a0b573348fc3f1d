"""REST, live socket, health and metrics of the page: FastAPI over the live view in memory and the history."""
