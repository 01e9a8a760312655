"""One rewrite a file: `apply(model) -> int`, how often it fired."""
