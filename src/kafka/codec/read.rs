//! The messages of a reader: ApiVersions, Metadata, ListOffsets, Fetch, DescribeLogDirs. Versions up to those that name topics (Fetch ≤ 12).
