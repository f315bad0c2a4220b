//! Pure: what a record says. Variables, a log format compiled once into a plan, plan × exchange → JSON bytes, body capture.
