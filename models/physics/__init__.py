"""Plants that simulate devices: small deterministic state-space models, many devices at once, and a fleet of them."""
