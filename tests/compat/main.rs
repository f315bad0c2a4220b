//! The Admin API against APISIX-COMPAT §5, row by row, over real sockets. The gateway is the control thread alone, with a board of no
//! cores; each test has one of its own.

mod access;
mod changes;
mod client;
mod errors;
mod gateway;
mod lists;
mod objects;
mod persistence;
mod schemas;
mod table;
