"""A protocol shown to people and editors: as a picture, in sentences, as a JSON Schema."""
