"""The OpenAPI document as a product: its linter, and the generator of the TypeScript client."""
