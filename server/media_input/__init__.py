"""How media reach the server: multipart bodies, data URLs, addresses it fetches, folders it may scan."""
