//! The operator's catalog of classes: where they are found, and what is made of them.

pub mod build;
pub mod command;
