//! Pure: which node of an upstream gets a request: node sets, balancers, retry rules. No connection.
