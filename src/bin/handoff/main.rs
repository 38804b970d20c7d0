//! `handoff`, the operator's tool.
fn main() {}
