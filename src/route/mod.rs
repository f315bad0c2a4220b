//! Pure: which route answers a request. Host, path, method, address and expressions against a table compiled once.
