//! Whatever the outside says: every parser, and the program against an IMDS and an EC2 that talk nonsense.
//!
//! A hostile answer ends in a documented exit code, before the deadline, with a text that names what was asked and
//! has an end, without a panic, and without costing the machine its memory. Private parsers have their properties
//! beside them in `src/`.

mod ec2;
mod hostile;
mod imds;
mod parsers;
