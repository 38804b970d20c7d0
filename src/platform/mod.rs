//! The only room that knows which operating system it runs on: system calls, `cfg(target_os)`, `unsafe`.
